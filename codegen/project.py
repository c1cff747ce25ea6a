"""Writes the C project: network, weights, kernels it uses, ISA headers, runtime, Makefile, manifest.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from odl.codegen.builds import build_context, copied_files
from odl.codegen.context import entry_point_texts, initial_image, net_context
from odl.codegen.debug import INPUT, Looks
from odl.codegen.format import format_c
from odl.codegen.kernels import KernelSet, environment
from odl.codegen.origin import licence, licensed
from odl.codegen.programs import kernel_calls
from odl.learners.log import Log
from odl.project.describe import describe
from odl.project.directory import check_output, replace_project
from odl.project.network import Network
from odl.targets.common.flags import makefile_flags


def render_project(network: Network) -> dict[str, str]:
    """Every file of the project by its path, as text. The same network gives the same bytes anywhere."""
    options = network.options
    kernels = KernelSet(kernel_calls(list(network.schedule.programs.values())), network.prefix)
    rendered = kernels.render()
    image, initial = initial_image(network)
    context = net_context(network, kernels, initial, len(image))
    looks = Looks()
    names = {
        **context.names(),
        "entry": entry_point_texts(network, context),
        "looks": looks,
        "input_look": INPUT,
    }
    templates = environment("odl.codegen", "templates")

    def text(template: str, **values: object) -> str:
        return templates.get_template(template).render({**names, **values})

    source, rows, published = looks.taken_out(text("net.c.j2"))
    files = {
        f"{network.prefix}.h": format_c(text("net.h.j2")),
        f"{network.prefix}.c": format_c(source),
        f"{network.prefix}_debug.c": format_c(text("debug.c.j2", rows=rows, published=published)),
        f"{network.prefix}_memory.h": format_c(text("memory.h.j2")),
        f"{network.prefix}_private.h": format_c(text("private.h.j2")),
        f"{network.prefix}_state.h": format_c(text("state.h.j2")),
        f"{network.prefix}_state.c": format_c(text("state.c.j2")),
        f"{network.prefix}_weights.c": text("weights.c.j2", lines=_words(image)),
        f"{network.prefix}_kernels.h": format_c(
            text(
                "kernels.h.j2", shapes=sorted(kernels.shapes, key=lambda shape: shape.name), kernels=rendered
            )
        ),
        "example.c": format_c(text("main.c.j2", loss=options.loss)),
    }
    files |= {f"kernels/{kernel.name}.c": format_c(kernel.text) for kernel in rendered}
    files |= {f"examples/firmware{end}": format_c(text(f"firmware{end}.j2")) for end in (".c", ".cpp")}
    if options.learner(Log) is not None:
        files["examples/learner.c"] = format_c(text("learner.c.j2"))
    if options.on_device:
        files["device.c"] = format_c(text("device.c.j2"))
    files |= copied_files(network, files)
    build = build_context(network, files)
    files[f"{build.port}/odl_runtime.h"] = text("odl_runtime.h.j2", exported=build.exported)
    for name in ("Makefile", "CMakeLists.txt"):
        files[name] = text(f"{name}.j2", **vars(build), **makefile_flags())
    files = {path: licensed(path, text) for path, text in files.items()} | {"LICENSE": licence()}
    manifest = describe(network, sorted(files), context.state_bytes, kernels.name)
    files["manifest.json"] = json.dumps(manifest.document(), indent=1) + "\n"
    return files


def write_project(network: Network, directory: Path) -> None:
    """Write the project; an earlier odl project there is replaced at once, anything else is left alone.

    InputError when the directory holds anything that odl did not write, or cannot be written.
    """
    check_output(directory)
    replace_project(directory, render_project(network))


def _words(image: bytes) -> list[str]:
    words = [f"0x{word:08x}u," for word in np.frombuffer(image, dtype="<u4")]
    return [" ".join(words[start : start + 8]) for start in range(0, len(words), 8)] or ["0u,"]
