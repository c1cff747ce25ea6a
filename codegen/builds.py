"""The build files of a project: Makefile, CMakeLists.txt, and the runtimes and headers that they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from odl.codegen.device import copied, device_context, device_files
from odl.codegen.isa_headers import dialects, isa_headers
from odl.options import Options
from odl.project.network import Network
from odl.targets import HOST
from odl.targets.target import FREESTANDING

#: C files of a project that are programs, not the network.
_PROGRAMS = ("example.c", "device.c")


@dataclass(frozen=True)
class BuildContext:
    """What the build files say of a project besides its flags.

    `sources`, `kernel_sources`: the network's C files; `headers`: its interface; `host`: the folder of the host's
    runtime; `port`: that of what a runtime of the user's must offer; `device`: how to build for the device, None where odl
    does not; `lanes`, `lanes_f32`: elements in a vector of the target, which the exact host build has too; `dialects`:
    what else than the host's it may be built in.
    """

    sources: tuple[str, ...]
    kernel_sources: tuple[str, ...]
    headers: tuple[str, ...]
    host: str
    port: str
    device: Mapping[str, str] | None
    exported: bool
    lanes: int
    lanes_f32: int
    dialects: tuple[str, ...]


def copied_files(network: Network, files: Mapping[str, str]) -> dict[str, str]:
    """What a project with these files has besides that no template makes: headers, runtimes, what a C library lacks."""
    options = network.options
    found = isa_headers(network, [text for path, text in files.items() if path.endswith((".c", ".h"))])
    found |= copied("odl.targets", "host/runtime", _host_folder(options))
    if options.on_device:
        found |= device_files(network)
    if options.runtime == "none":
        found |= copied("odl.targets", FREESTANDING.name, FREESTANDING.name)
        found |= copied("odl.targets", f"{FREESTANDING.name}/include", f"{FREESTANDING.name}/include")
    return found


def build_context(network: Network, files: Mapping[str, str]) -> BuildContext:
    """What the build files of a project with these files say."""
    options = network.options
    exported = options.runtime == "none"
    isa = files.get("isa/odl_isa.h", "")
    beside = (*_PROGRAMS, f"{network.prefix}_debug.c")
    return BuildContext(
        sources=tuple(
            path for path in files if path.endswith(".c") and "/" not in path and path not in beside
        ),
        kernel_sources=tuple(sorted(path for path in files if path.startswith("kernels/"))),
        headers=tuple(
            path
            for path in (f"{network.prefix}{end}.h" for end in ("", "_memory", "_state"))
            if path in files
        ),
        host=_host_folder(options),
        port="runtime" if exported else "port",
        device=device_context(network),
        exported=exported,
        lanes=options.description.instruction_set.lanes_f16,
        lanes_f32=options.description.instruction_set.lanes_f32,
        dialects=tuple(
            macro.removeprefix("ODL_ISA_")
            for macro, header in dialects(isa).items()
            if f"isa/{header}" in files and "HOST" not in macro
        ),
    )


def _host_folder(options: Options) -> str:
    """Where the host's runtime lies: "runtime", unless that is another machine's."""
    return HOST.name if options.on_device or options.runtime == "none" else "runtime"
