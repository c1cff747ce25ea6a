"""Opens a project where it runs: on this machine, or on the simulator of its target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from odl.errors import InputError, option
from odl.project.manifest import read_manifest
from odl.run.library import ProjectBuild
from odl.run.net import Net
from odl.targets import TARGETS

if TYPE_CHECKING:
    import torch


def load_net(
    directory: Path,
    build: str | None = None,
    *,
    vlen: int | None = None,
    unused: Mapping[str, torch.Tensor] | None = None,
) -> Net:
    """The network of a project.

    `build`: None for the project's target (for the host its exact build), "exact" or "fast" for this machine whatever
    the target, "device" for the target. `vlen`: bits of the device's vector registers instead of the default.
    InputError for anything else, or where there is no such device.
    """
    chosen = None if build is None else ProjectBuild.of(build)
    options = read_manifest(directory).options
    target = options.description
    on_device = chosen is ProjectBuild.DEVICE or (chosen is None and options.on_device)
    if vlen is not None and not (target.instruction_set.vector_bits and options.on_device and on_device):
        raise InputError(f"{option('vlen', vlen)} goes with projects compiled for {_with_vectors()}")
    if not on_device:
        return Net(directory, chosen or ProjectBuild.EXACT, unused)
    if not options.on_device:
        made_for = "the host" if target.is_host else "a runtime of yours"
        raise InputError(f"{directory} was compiled for {made_for}; there is no device to run it on")
    from odl.run.device import DeviceNet

    machine = None if vlen is None else target.machine(options.core_count, vlen=vlen)
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
