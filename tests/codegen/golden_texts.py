"""The excerpts of generated projects that are kept as expected texts: a name, a project, what is cut out of it.

One excerpt shows one idea and has at most `MOST_LINES` lines. The networks are as small as the idea allows.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

import odl
from odl.codegen.project import render_project
from tests.networks import tiny_build

MOST_LINES = 150


def linear() -> nn.Module:
    """One layer: the smallest network that is trained."""
    return nn.Linear(4, 3)


def convolutional() -> nn.Module:
    """Two layers, of which the second does not fit into 800 bytes."""
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 3))


@dataclass(frozen=True)
class Source:
    """A network and the options it is compiled with; without a module it is `tests.networks.tiny`."""

    options: Mapping[str, Any]
    module: Callable[[], nn.Module] | None = None
    input_shape: tuple[int, ...] = ()


#: Every project that an excerpt or a digest is taken from.
SOURCES: Mapping[str, Source] = {
    "linear": Source({"dtype": "mixed"}, linear, (4,)),
    "linear fp16": Source({"dtype": "fp16"}, linear, (4,)),
    "linear accumulate": Source({"dtype": "mixed", "accumulate": True}, linear, (4,)),
    "linear adam": Source({"dtype": "fp32", "optimizer": odl.Adam(0.001)}, linear, (4,)),
    "linear importance": Source({"dtype": "mixed", "bn": "frozen", "learn": ("importance",)}, linear, (4,)),
    "linear squared error": Source({"dtype": "fp32", "loss": "mse"}, linear, (4,)),
    "linear cluster": Source({"dtype": "fp16", "target": "cv32e40p"}, linear, (4,)),
    "linear gvsoc": Source({"dtype": "fp16", "target": "gvsoc"}, linear, (4,)),
    "linear vectors": Source({"dtype": "fp16", "target": "qemu", "isa": "zvfh"}, linear, (4,)),
    "linear export": Source({"dtype": "fp16", "target": "cv32e40p", "runtime": "none"}, linear, (4,)),
    "tiles": Source({"dtype": "fp16", "target": "cv32e40p", "l1": 800}, convolutional, (2, 6, 6)),
    "mixed": Source({"dtype": "mixed", "bn": "train"}),
    "fp32": Source({"dtype": "fp32", "bn": "fold", "optimizer": odl.Adam(0.001)}),
}


@cache
def build(name: str) -> odl.Build:
    """The compiled network of a source."""
    source = SOURCES[name]
    if source.module is None:
        return tiny_build(**source.options)
    torch.manual_seed(0)
    return odl.compile(
        source.module(), torch.zeros(1, *source.input_shape), name="small", prefix="net", **source.options
    )


@cache
def project(name: str) -> dict[str, str]:
    """Every file of a source's project; without the release of the compiler that this machine happens to have."""
    files = render_project(build(name).compiled.network)
    files["Makefile"] = re.sub(r"(?m)^(CLANG = clang|LLD = ld\.lld)\S*$", r"\1", files["Makefile"])
    return files


def is_copied(path: str) -> bool:
    """Whether a file is a copy of one in kernels/isa or in a runtime folder of targets/."""
    folders = ("isa/", "host/", "runtime/", "freestanding/")
    return path.startswith((*folders, "LICENSE")) and path != "runtime/link.ld"


def digests(files: Mapping[str, str]) -> str:
    """A line for every file, sorted by path: number of lines, beginning of the text's SHA-256, path.

    A copy has neither, so that a change of it shows only where it is made. The weights have none because they
    come from PyTorch's random numbers.
    """
    lines = []
    for path, text in sorted(files.items()):
        if is_copied(path) or path == "net_weights.c":
            lines.append(f"{'':>5}  {'copied' if is_copied(path) else 'weights':<16}  {path}\n")
        else:
            digest = hashlib.sha256(text.encode()).hexdigest()[:16]
            lines.append(f"{len(text.splitlines()):>5}  {digest:<16}  {path}\n")
    return "".join(lines)


def compact(value: Any, width: int = 180, indent: int = 0) -> str:
    """JSON with what fits on one line on one line."""
    line = json.dumps(value)
    if len(line) + indent <= width or not isinstance(value, (dict, list)):
        return line
    pad = " " * (indent + 1)
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {compact(item, width, indent + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(pad + item for item in items) + "\n" + " " * indent + "}"
    items = [compact(item, width, indent + 1) for item in value]
    return "[\n" + ",\n".join(pad + item for item in items) + "\n" + " " * indent + "]"


def sections(text: str) -> list[str]:
    """net.c cut where a program, a section or the interface begins."""
    return re.split(r"(?m)^(?=/\* --- |/\* Forward and backward)", text)


def header_parts(text: str) -> list[str]:
    """net.h cut behind the statuses and what they mean, and where calls that compute end."""
    return re.split(
        r"(?m)^(?=/\*\*\n \* @brief (?:Says what a status|Sets the weights|Sets the learning rate))", text
    )


def section(name: str, title: str) -> str:
    """The section of net.c with this title."""
    (found,) = (part for part in sections(project(name)["net.c"]) if part.startswith(f"/* --- {title} ---"))
    return found


def functions(name: str, *wanted: str, file: str = "net.c") -> str:
    """These functions or structures of a C file, in its order."""
    text = project(name)[file]
    names = "|".join(wanted)
    found = re.findall(
        rf"(?ms)^(?:[\w ]+[ *](?:{names})\([^;{{]*\) |struct (?:{names}) )\{{.*?^\}};?\n", text
    )
    assert len(found) == len(wanted), (wanted, found)
    return "\n".join(found)


def kernel(name: str, beginning: str) -> str:
    """The C file of the one kernel whose name begins like that."""
    (found,) = (
        text for path, text in project(name).items() if re.match(rf"kernels/net_{beginning}([_.])", path)
    )
    return found


def calls(name: str, *nodes: str, program: str = "one training step") -> str:
    """The functions by which a program computes these nodes."""
    text = section(name, program)
    parts = re.split(r"(?m)^(?=/\* [^\n]*: [A-Z]\w+ |static void run_)", text)
    return "".join(part for part in parts if part.lstrip().removeprefix("/* ").split(": ")[0] in nodes)


def more_lines(name: str, path: str, than: str) -> str:
    """Lines of a file that the same file of another project has not, in their order."""
    known = set(project(than)[path].splitlines())
    text = "\n".join(line for line in project(name)[path].splitlines() if not line or line not in known)
    return re.sub(r"\n{3,}", "\n\n", text.strip("\n")) + "\n"


def manifest(name: str) -> dict[str, Any]:
    """manifest.json of a project."""
    found: dict[str, Any] = json.loads(project(name)["manifest.json"])
    return found


def _whole(name: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """A whole project: short files as they are, net.c by sections, the manifest with short things on one line."""
    yield "project/files.txt", lambda: digests(project(name))
    for path in (
        "Makefile",
        "example.c",
        "net_kernels.h",
        "net_debug.c",
        "net_memory.h",
        "net_private.h",
        "net_state.h",
    ):
        yield f"project/{path}", lambda path=path: project(name)[path]
    for path in (path for path in project(name) if re.match(r"kernels/net_(cast|channel|cross|sgd)", path)):
        yield f"project/{path}", lambda path=path: project(name)[path]
    parts = ("state", "shapes", "given", "step", "apply", "infer", "refresh", "interface")
    for number, part in enumerate(parts):
        yield (
            f"project/net.c/{number}_{part}.c",
            lambda number=number: sections(project(name)["net.c"])[number],
        )
    for number, part in enumerate(("statuses", "texts", "calls", "settings")):
        yield (
            f"project/net.h/{number}_{part}.h",
            lambda number=number: header_parts(project(name)["net.h"])[number],
        )
    yield "project/net_state.c/tables.c", lambda: sections(project(name)["net_state.c"])[2]
    for key in ("memory", "programs"):
        yield f"project/manifest.json/{key}.json", lambda key=key: compact(manifest(name)[key]) + "\n"
    yield "project/manifest.json/beside.json", lambda: compact(_without(manifest(name))) + "\n"


def _without(whole: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in whole.items() if key not in ("memory", "programs")}


#: What the excerpt is called, and how it is made.
TEXTS: Mapping[str, Callable[[], str]] = {
    **dict(_whole("linear")),
    "files/mixed.txt": lambda: digests(project("mixed")),
    "files/fp32.txt": lambda: digests(project("fp32")),
    "files/tiles.txt": lambda: digests(project("tiles")),
    # The interface
    "interface/accumulate.h": lambda: more_lines("linear accumulate", "net.h", than="linear"),
    "interface/cluster.h": lambda: more_lines("linear cluster", "net.h", than="linear fp16"),
    "interface/squared_error.h": lambda: more_lines("linear squared error", "net.h", than="linear fp16"),
    "interface/device.c": lambda: project("linear cluster")["device.c"],
    "interface/port.h": lambda: project("linear export")["runtime/odl_runtime.h"],
    # Optimizers, and when they run
    "update/adam_state.c": lambda: functions("linear adam", "prepare_update", "train", "net_train_step"),
    "update/adam_private.h": lambda: project("linear adam")["net_private.h"],
    "update/adam_kernel.c": lambda: kernel("linear adam", "adam"),
    "update/step.c": lambda: section("linear fp16", "one training step"),
    "update/accumulate_apply.c": lambda: section("linear accumulate", "updates after a step that counts"),
    "update/accumulate_skip.c": lambda: section("linear accumulate", "after a step that overflowed"),
    "update/accumulate_interface.c": lambda: functions(
        "linear accumulate",
        "add_gradients",
        "skip_step",
        "train",
        "net_train_step",
        "net_accumulate",
        "net_apply",
    ),
    # Batch norm that trains beside the one that infers
    "batch_norm/step.c": lambda: calls("mixed", "1", "1.input_gradient"),
    "batch_norm/infer.c": lambda: calls("mixed", "1", program="inference"),
    "batch_norm/frozen_kernel.c": lambda: kernel("mixed", "batch_norm_frozen"),
    # Two memories
    "cluster/transfers.c": lambda: section("tiles", "transfers between L2 and L1, all of them core 0's"),
    "cluster/input.c": lambda: section("linear cluster", "what the caller hands in"),
    "cluster/step.c": lambda: section("linear cluster", "one training step"),
    "cluster/tiles.c": lambda: calls("tiles", "3.input_gradient"),
    "cluster/in_the_larger_memory.c": lambda: calls("tiles", "3"),
    "cluster/manifest_node.json": lambda: compact(manifest("tiles")["programs"][0]["nodes"][4]) + "\n",
    "cluster/manifest_l1.json": lambda: compact(manifest("linear cluster")["memory"]["l1"]) + "\n",
    # One kernel in every precision
    "kernel/relu_gradient_fp32.c": lambda: kernel("fp32", "relu_gradient"),
    "kernel/relu_gradient_fp16.c": lambda: kernel("mixed", "relu_gradient"),
    "kernel/channel_sum_fp32.c": lambda: kernel("fp32", "channel_sum"),
    "kernel/sgd_fp16.c": lambda: kernel("linear fp16", "sgd"),
    "kernel/change_layout.c": lambda: kernel("mixed", "change_layout_t_f16_to_channels_first"),
    # What make builds beyond the host's programs
    "makefile/port.mk": lambda: more_lines("linear export", "Makefile", than="linear fp16"),
    "makefile/device.mk": lambda: more_lines("linear cluster", "Makefile", than="linear export"),
    "makefile/link.ld": lambda: project("linear cluster")["runtime/link.ld"],
    "makefile/vectors.mk": lambda: more_lines("linear vectors", "Makefile", than="linear cluster"),
}
