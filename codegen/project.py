"""Writes the C project: network, weights, kernels it uses, ISA headers, runtime, Makefile, manifest.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from odl.codegen.device import copied, device_context, device_files
from odl.codegen.format import format_c
from odl.codegen.kernels import KernelSet, environment
from odl.codegen.names import comment_text, float_literal
from odl.codegen.programs import C_TYPES, ShapeSet, kernel_calls, program_context, serving_functions
from odl.codegen.staged import staged_context
from odl.graph.ir import DType, Role
from odl.optimizers.base import RunTimeScalar
from odl.options import Options
from odl.plan.incoming import Incoming, incoming
from odl.plan.staging import AHEAD
from odl.precision import Precision
from odl.project.directory import check_output, replace_project
from odl.project.layout import to_memory
from odl.project.manifest import manifest
from odl.project.network import Network
from odl.project.programs import INFER, REFRESH, SKIP, STEP, Program

#: Words of `struct net_state` (net.c.j2) besides the run-time scalars.
STATE_COUNTERS = 5


def render_project(network: Network) -> dict[str, str]:
    """Every file of the project by its path, as text. The same network gives the same bytes anywhere."""
    schedule = network.schedule
    kernels = KernelSet(kernel_calls(list(schedule.programs.values())))
    rendered = kernels.render()
    files: dict[str, str] = {}
    image, tensors = _initial_image(network)
    context = _context(network, kernels, tensors)
    context["fingerprint"] = _fingerprint(network, context)
    templates = environment("odl.codegen", "templates")
    shapes = dict(sorted(kernels.shapes.items()))
    texts = {
        "net.h": templates.get_template("net.h.j2").render(context),
        "net.c": templates.get_template("net.c.j2").render(context),
        "weights.c": templates.get_template("weights.c.j2").render(lines=_words(image)),
        "kernels.h": templates.get_template("kernels.h.j2").render(shapes=shapes, kernels=rendered),
        "example.c": templates.get_template("main.c.j2").render(loss=network.options.loss),
    }
    texts |= {f"kernels/{kernel.name}.c": kernel.text for kernel in rendered}
    files |= {path: text if path == "weights.c" else format_c(text) for path, text in texts.items()}
    files |= copied("odl.kernels", "isa", "isa")
    options, device = network.options, device_context(network)
    exported = options.runtime == "none"
    host = "host" if device or exported else "runtime"
    files |= copied("odl.targets", "host/runtime", host)
    if device is not None:
        files |= device_files(network)
        files["device.c"] = format_c(templates.get_template("device.c.j2").render(context))
    if exported:
        files["runtime/odl_runtime.h"] = templates.get_template("odl_runtime.h.j2").render(context)
    files["Makefile"] = templates.get_template("Makefile.j2").render(
        host=host, device=device, exported=exported, **_lanes(options)
    )
    files["manifest.json"] = json.dumps(manifest(network, sorted(files), context), indent=1) + "\n"
    return files


def write_project(network: Network, directory: Path) -> None:
    """Write the project; an earlier odl project there is replaced at once, anything else is left alone.

    InputError when the directory holds anything that odl did not write, or cannot be written.
    """
    check_output(directory)
    replace_project(directory, render_project(network))


def _initial_image(network: Network) -> tuple[bytes, list[dict[str, Any]]]:
    """Parameters and statistics one after another, and where each goes in the arena."""
    image = b""
    tensors: list[dict[str, Any]] = []
    for value, offset in network.schedule.persistent:
        if value.role not in (Role.PARAMETER, Role.STATISTIC):
            continue
        data = to_memory(value, network.initial[value.name])
        tensors.append(
            {"name": comment_text(value.name), "offset": offset, "bytes": len(data), "source": len(image)}
        )
        image += data + b"\0" * (-len(data) % 4)
    return image, tensors


def _lanes(options: Options) -> dict[str, int]:
    """Elements in a vector of the target, which the exact host build has too."""
    return {"lanes": options.description.lanes_f16, "lanes_f32": options.description.lanes_f32}


def _words(image: bytes) -> list[str]:
    words = [f"0x{word:08x}u," for word in np.frombuffer(image, dtype="<u4")]
    return [" ".join(words[start : start + 8]) for start in range(0, len(words), 8)] or ["0u,"]


def _context(network: Network, kernels: KernelSet, tensors: list[dict[str, Any]]) -> dict[str, Any]:
    options, schedule = network.options, network.schedule
    dynamic = options.dtype is Precision.MIXED
    shapes = ShapeSet(kernel_calls(list(schedule.programs.values())))
    programs = [
        program_context(
            index, name, program, kernels, shapes, watches_overflow=dynamic and name.watches_overflow
        )
        | ({} if program.staging is None else staged_context(program, kernels, shapes))
        for index, (name, program) in enumerate(schedule.programs.items())
    ]
    scalars = options.optimizer.scalars(options.initial_loss_scale)
    output = network.output_value
    return {
        "title": comment_text(network.name),
        "precision": str(options.dtype),
        "optimizer": options.optimizer.title,
        "arena_bytes": schedule.memory.arena_bytes,
        "persistent_bytes": schedule.memory.persistent_bytes,
        "clustered": schedule.local is not None,
        "marked": options.on_device or options.runtime == "none",
        "l1_bytes": 0 if schedule.local is None else schedule.local.arena_bytes,
        "incoming": _incoming(network),
        "ahead": AHEAD,
        "strided": {
            str(move["kind"]) for program in programs for move in _all_moves(program) if move.get("line")
        },
        "state_bytes": schedule.memory.persistent_bytes + 4 * (1 + len(scalars) + STATE_COUNTERS),
        "input_size": network.input_value.count,
        "input_shape": _shape_text(network.input_value),
        "output_size": output.count,
        "output_shape": _shape_text(output),
        "batch": network.batch,
        "target_text": (
            "class probabilities [NET_BATCH][classes]; a hard label is one 1 among zeros"
            if options.loss == "cross_entropy"
            else "the wanted output, [NET_BATCH][NET_OUTPUT_SIZE / NET_BATCH]"
        ),
        "cross_entropy": options.loss == "cross_entropy",
        "accumulate": options.accumulate,
        "deferred": network.deferred,
        "dynamic_scale": dynamic,
        "learning_rate_text": f"{options.optimizer.lr:g}",
        "scalars": [_scalar(scalar) for scalar in scalars],
        "has_refresh": REFRESH in schedule.programs,
        "has_skip": any(program["name"] == SKIP.name and program["nodes"] for program in programs),
        "shapes": shapes.context(),
        "programs": programs,
        "served_by": serving_functions(programs),
        "initial": tensors,
        "step_io": _step_addresses(network),
        "infer_io": _infer_addresses(network),
    }


def _all_moves(program: Mapping[str, Any]) -> list[dict[str, Any]]:
    moves = list(program["finish"])
    for task in program["tasks"]:
        moves += [*task["before"], *task["beside"], *task["publish"]]
    return moves


def _scalar(scalar: RunTimeScalar) -> dict[str, str]:
    """A run-time scalar in C; net_init sets all to zero before it gives them their initial values."""
    literals = {name: float_literal(number) for name, number in scalar.numbers.items()}
    return {
        "name": scalar.name,
        "comment": scalar.comment,
        "initial": float_literal(scalar.initial) if scalar.initial else "",
        "advance": scalar.advance.format(**literals),
    }


def _shape_text(value: Any) -> str:
    return "x".join(str(value.shape[axis]) for axis in value.layout.permutation(len(value.shape)))


def _address(network: Network, program: Program, role: Role) -> tuple[DType, int]:
    item = network.schedule.programs[program]
    value = next(value for value in item.graph.values.values() if value.role is role)
    return value.dtype, item.offsets[value.name]


def _incoming(network: Network) -> Incoming | None:
    local = network.schedule.local
    return None if local is None else incoming(network.input_value, local.arena_bytes)


def _step_addresses(network: Network) -> dict[str, Any]:
    dtype, x = _address(network, STEP, Role.INPUT)
    return {
        "x": x,
        "x_T": str(dtype),
        "x_type": C_TYPES[dtype],
        "target": _address(network, STEP, Role.TARGET)[1],
        "sample_weight": _address(network, STEP, Role.SAMPLE_WEIGHT)[1],
        "loss": _address(network, STEP, Role.LOSS)[1],
    }


def _infer_addresses(network: Network) -> dict[str, Any]:
    dtype, x = _address(network, INFER, Role.INPUT)
    program = network.schedule.programs[INFER]
    output = program.graph.value(program.graph.outputs[0])
    return {
        "x": x,
        "x_T": str(dtype),
        "x_type": C_TYPES[dtype],
        "y": program.offsets[output.name],
        "y_T": str(output.dtype),
        "y_type": C_TYPES[output.dtype],
    }


def _fingerprint(network: Network, context: Mapping[str, Any]) -> int:
    described = json.dumps(
        [
            network.name,
            [[value.name, value.shape, value.dtype, offset] for value, offset in network.schedule.persistent],
            context["state_bytes"],
        ]
    )
    return int.from_bytes(hashlib.sha256(described.encode()).digest()[:4], "little")
