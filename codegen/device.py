"""The part of a project that is for its device: runtime, linker script, compiler flags."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from odl.project.network import Network
from odl.targets.description import STACK_BYTES
from odl.targets.pulp.build import MemoryLayout, TargetName, runtime_files
from odl.targets.pulp.build import compile_options as cluster_options
from odl.targets.pulp.build import link_options as cluster_link_options
from odl.targets.pulp.toolchain import TESTED
from odl.targets.qemu.build import DIALECTS as QEMU_DIALECTS
from odl.targets.qemu.build import compile_options as qemu_options
from odl.targets.qemu.build import link_options as qemu_link_options

_CODE = "-std=c11 -O3 $(WARNINGS) -ffp-contract=off -fno-math-errno -fno-strict-aliasing"
_INCLUDES = "-Iisa -Iruntime -Iruntime/include -I."
#: What the Makefile calls each cluster, and the macro that picks the kernels' dialect.
_CLUSTERS: Mapping[TargetName, tuple[str, str]] = {
    "cv32e40p": ("a cluster of CV32E40P cores with packed FP16", "ODL_ISA_XCV"),
    "gvsoc": ("GVSoC's pulp-open: a cluster of RI5CY cores with packed FP16", "ODL_ISA_XPULP"),
}


def device_context(network: Network) -> dict[str, str] | None:
    """What the Makefile says about building for the device; None where there is none, or it is not odl's to build for."""
    options = network.options
    if not options.on_device:
        return None
    if options.target == "qemu":
        assert options.description.isa is not None
        title = "standard RISC-V on QEMU"
        flags = qemu_options(options.description.isa, options.core_count)
        dialect, link = QEMU_DIALECTS[options.description.isa], qemu_link_options()
    else:
        target = cluster_target(network)
        title, dialect = _CLUSTERS[target]
        flags, link = cluster_options(target, memory_layout(network)), cluster_link_options()
    return {
        "title": title,
        "suffix": f"-{TESTED}",
        "flags": " ".join([_CODE, *flags, f"-D{dialect}", _INCLUDES]),
        "link": " ".join(["-T", "runtime/link.ld", *link]),
    }


def cluster_target(network: Network) -> TargetName:
    """Which of the clusters a network is for."""
    return "gvsoc" if network.options.target == "gvsoc" else "cv32e40p"


def memory_layout(network: Network) -> MemoryLayout:
    """A cluster's memories, as the linker sees them."""
    description = network.options.description
    assert description.l1_bytes is not None and description.l2_bytes is not None
    return MemoryLayout(
        cores=network.options.core_count,
        l1_bytes=description.l1_bytes,
        l2_bytes=description.l2_bytes,
        stack_bytes=STACK_BYTES,
    )


def device_files(network: Network) -> dict[str, str]:
    """The runtime's sources, what stands in for a C library, and the linker script."""
    files = copied("odl.targets", "freestanding", "runtime")
    files |= copied("odl.targets", "freestanding/include", "runtime/include")
    if network.options.target == "qemu":
        return files | copied("odl.targets", "qemu/runtime", "runtime")
    for path in runtime_files(cluster_target(network)):
        files[f"runtime/{path.name}"] = path.read_text(encoding="utf-8")
    files["runtime/link.ld"] = memory_layout(network).linker_script()
    return files


def copied(package: str, folder: str, into: str) -> dict[str, str]:
    """C and assembly files and linker scripts of a folder of a package, by their paths in the project."""
    files: dict[str, str] = {}
    for item in sorted(resources.files(package).joinpath(folder).iterdir(), key=lambda item: item.name):
        if item.name.endswith((".h", ".c", ".S", ".ld")):
            files[f"{into}/{item.name}"] = item.read_text(encoding="utf-8")
    return files
