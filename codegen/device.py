"""The part of a project that is for its device: runtime, linker script, compiler flags."""

from __future__ import annotations

from importlib import resources

from odl.codegen.network import Network
from odl.targets.description import STACK_BYTES
from odl.targets.pulp.build import MemoryLayout, compile_options, link_options
from odl.targets.pulp.toolchain import TESTED

_TITLES = {"cv32e40p": "a cluster of CV32E40P cores with packed FP16"}
_DIALECTS = {"cv32e40p": "ODL_ISA_XCV"}


def device_context(network: Network) -> dict[str, str] | None:
    """What the Makefile says about building for the device; None where the device is this machine."""
    options = network.options
    if not options.description.clustered:
        return None
    flags = [
        "-std=c11 -O3 $(WARNINGS) -ffp-contract=off -fno-math-errno -fno-strict-aliasing",
        *compile_options("cv32e40p", memory_layout(network)),
        f"-D{_DIALECTS[options.target]}",
        "-Iisa -Iruntime -Iruntime/include -I.",
    ]
    return {
        "title": _TITLES[options.target],
        "suffix": f"-{TESTED}",
        "flags": " ".join(flags),
        "link": " ".join(["-T", "runtime/link.ld", *link_options()]),
    }


def memory_layout(network: Network) -> MemoryLayout:
    """The device's memories, as the linker sees them."""
    description = network.options.description
    assert description.l1_bytes is not None and description.l2_bytes is not None
    return MemoryLayout(
        cores=network.options.core_count,
        l1_bytes=description.l1_bytes,
        l2_bytes=description.l2_bytes,
        stack_bytes=STACK_BYTES,
    )


def device_files(network: Network) -> dict[str, str]:
    """The runtime's sources and the linker script."""
    files = copied("odl.targets", "pulp/runtime", "runtime")
    files |= copied("odl.targets", "pulp/include", "runtime/include")
    files["runtime/link.ld"] = memory_layout(network).linker_script()
    return files


def copied(package: str, folder: str, into: str) -> dict[str, str]:
    """C and assembly files of a folder of a package, by their paths in the project."""
    files: dict[str, str] = {}
    for item in sorted(resources.files(package).joinpath(folder).iterdir(), key=lambda item: item.name):
        if item.name.endswith((".h", ".c", ".S")):
            files[f"{into}/{item.name}"] = item.read_text(encoding="utf-8")
    return files
