"""The proven stack of every project, and on the RTL what a step used of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from odl.bench.measure import train_once
from odl.project.manifest import StackEntry
from odl.run.device import DeviceNet
from odl.stack import prove, touched_stack


@dataclass(frozen=True)
class StackFigure:
    """One project: what is proven, and what its cores used in a training step where that was measured."""

    name: str
    proven: StackEntry
    used: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every core kept to its bound."""
        pairs = zip(self.used, self.proven.cores, strict=bool(self.used))
        return all(0 < used <= most for used, most in pairs)


def measure(name: str, directory: Path, run: bool) -> StackFigure:
    """Prove a project's stack; with `run` make a training step of it on the RTL too."""
    proven = prove(directory)
    if not run:
        return StackFigure(name, proven)
    net = DeviceNet(directory)
    train_once(net, 0)
    return StackFigure(name, proven, touched_stack(net))
