"""The part of a project that is for its device: runtime, linker script, compiler flags."""

from __future__ import annotations

from importlib import resources

from odl.project.network import Network
from odl.targets.common.flags import makefile_flags
from odl.targets.common.toolchain import TESTED
from odl.targets.target import FREESTANDING, DeviceTarget

_INCLUDES = "-Iisa -Iruntime -Iruntime/include -I."


def device_context(network: Network) -> dict[str, str] | None:
    """What the Makefile says about building for the device; None where there is none, or it is not odl's to build for."""
    options = network.options
    if not options.on_device:
        return None
    target = options.description
    assert isinstance(target, DeviceTarget)
    flags = [*target.compile_options(options.core_count), f"-D{target.instruction_set.dialect}"]
    return {
        "title": target.title,
        "suffix": f"-{TESTED}",
        "flags": " ".join([makefile_flags()["device_code"], *flags, _INCLUDES]),
        "link": " ".join(["-T", "runtime/link.ld", *target.link_options()]),
    }


def device_files(network: Network) -> dict[str, str]:
    """The runtime's sources, what stands in for a C library, and the linker script."""
    target = network.options.description
    assert isinstance(target, DeviceTarget)
    files = copied("odl.targets", FREESTANDING.name, "runtime")
    files |= copied("odl.targets", f"{FREESTANDING.name}/include", "runtime/include")
    for path in target.runtime_files():
        files[f"runtime/{path.name}"] = path.read_text(encoding="utf-8")
    files["runtime/link.ld"] = target.linker_script(network.options.core_count)
    return files


def copied(package: str, folder: str, into: str) -> dict[str, str]:
    """C and assembly files and linker scripts of a folder of a package, by their paths in the project."""
    files: dict[str, str] = {}
    for item in sorted(resources.files(package).joinpath(folder).iterdir(), key=lambda item: item.name):
        if item.name.endswith((".h", ".c", ".S", ".ld")):
            files[f"{into}/{item.name}"] = item.read_text(encoding="utf-8")
    return files
