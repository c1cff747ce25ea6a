"""Opens a project where it runs: on this machine, or on the simulator of its target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from odl.errors import InputError, option
from odl.project.manifest import read_manifest
from odl.run.library import HostBuild
from odl.run.net import Net
from odl.targets import TARGETS, find

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
    the target, "device" for the target. `vlen`: bits of the device's vector registers instead of the default.
    InputError for anything else, or where there is no such device.
    """
    check_place(where)
    options = read_manifest(directory)["options"]
    target = find(options["target"]).with_isa(options["isa"])
    has_device = not target.is_host and options["runtime"] == "own"
    if vlen is not None and not (
        target.instruction_set.vector_bits and has_device and where in (None, "device")
    ):
        raise InputError(f"{option('vlen', vlen)} goes with projects compiled for {_with_vectors()}")
    if where not in (None, "device"):
        return Net(directory, HostBuild(where), unused)
    if not has_device:
        if where == "device":
            made_for = "the host" if target.is_host else "a runtime of yours"
            raise InputError(f"{directory} was compiled for {made_for}; there is no device to run it on")
        return Net(directory, HostBuild.EXACT, unused)
    from odl.run.device import DeviceNet

    machine = None if vlen is None else target.machine(options["cores"], vlen=vlen)
    return DeviceNet(directory, machine, unused=unused)


def _with_vectors() -> str:
    """The targets and instruction sets whose machines have vector registers."""
    found = [
        f"target {target.name} with {option('isa', isa.name)}"
        for target in TARGETS.values()
        for isa in target.instruction_sets
        if isa.vector_bits
    ]
    return ", or ".join(found)
