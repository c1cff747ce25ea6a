"""Opens a project where it runs: on this machine, or on the simulator of its target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from odl.codegen.manifest import read_manifest
from odl.errors import InputError
from odl.run.library import HostBuild
from odl.run.net import Net

if TYPE_CHECKING:
    import torch

#: What `where` may be besides None: a build of the same C for this machine, or the target itself.
PLACES = (*(str(build) for build in HostBuild), "device")


def check_place(where: str | None) -> None:
    """InputError unless `where` is None or one of PLACES."""
    if where is not None and where not in PLACES:
        raise InputError(f"--build {where}: must be one of {', '.join(PLACES)}")


def load_net(
    directory: Path, where: str | None = None, *, unused: Mapping[str, torch.Tensor] | None = None
) -> Net:
    """The network of a project.

    `where`: None for the project's target (for the host its exact build), "exact" or "fast" for this machine whatever
    the target, "device" for the target. InputError for anything else, or where the target is this machine.
    """
    check_place(where)
    if where not in (None, "device"):
        return Net(directory, HostBuild(where), unused)
    target = read_manifest(directory)["options"]["target"]
    if target == "host":
        if where == "device":
            raise InputError(f"{directory} was compiled for the host; there is no device to run it on")
        return Net(directory, HostBuild.EXACT, unused)
    from odl.run.device import DeviceNet

    return DeviceNet(directory, unused=unused)
