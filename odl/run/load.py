"""Opens a project where it runs: on this machine, or on the simulator of its target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odl.errors import InputError, option
from odl.project.manifest import read_manifest
from odl.run.library import HostBuild
from odl.run.net import Net

if TYPE_CHECKING:
    import torch

#: What `where` may be besides None: a build of the same C for this machine, or the target itself.
PLACES = (*(str(build) for build in HostBuild), "device")


def check_place(where: str | None) -> None:
    """InputError unless `where` is None or one of PLACES."""
    if where is not None and where not in PLACES:
        raise InputError(f"{option('build', where)}: must be one of {', '.join(PLACES)}")


def load_net(
    directory: Path,
    where: str | None = None,
    *,
    vlen: int | None = None,
    unused: Mapping[str, torch.Tensor] | None = None,
) -> Net:
    """The network of a project.

    `where`: None for the project's target (for the host its exact build), "exact" or "fast" for this machine whatever
    the target, "device" for the target. `vlen`: bits of QEMU's vector registers instead of 128. InputError for anything
    else, or where there is no such device.
    """
    check_place(where)
    options = read_manifest(directory)["options"]
    has_device = options["target"] != "host" and options["runtime"] == "own"
    if vlen is not None and (options["isa"] != "zvfh" or not has_device or where not in (None, "device")):
        raise InputError(
            f"{option('vlen', vlen)} goes with projects compiled for target qemu with {option('isa', 'zvfh')}"
        )
    if where not in (None, "device"):
        return Net(directory, HostBuild(where), unused)
    if not has_device:
        if where == "device":
            raise InputError(
                f"{directory} was compiled for {_no_device(options)}; there is no device to run it on"
            )
        return Net(directory, HostBuild.EXACT, unused)
    from odl.run.device import DeviceNet
    from odl.targets.qemu import Machine

    return DeviceNet(directory, None if vlen is None else Machine(vlen=vlen), unused=unused)


def _no_device(options: Mapping[str, Any]) -> str:
    return "the host" if options["target"] == "host" else "a runtime of yours"
