"""Cycles of one training step on GVSoC, whole and by operator. Where they went GVSoC does not say.

The model: L1 without bank conflicts, one FPU for every two of the eight cores. Eight fp16 multiply-accumulates a cycle are
all that these can do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odl.bench.intervals import Interval, intervals
from odl.bench.measure import train_once
from odl.errors import InputError, option
from odl.project.manifest import read_manifest
from odl.run.device import DeviceNet
from odl.run.gvsoc import GvsocSimulator


@dataclass(frozen=True)
class CycleCount:
    """A whole training step."""

    model: str
    target: str
    dtype: str
    cores: int
    macs: int
    cycles: int
    operators: tuple[Interval, ...]
    seconds: float
    """Wall time of the simulation."""

    @property
    def mac_per_clk(self) -> float:
        """Multiply-accumulates of the step per cycle, everything counted."""
        return self.macs / self.cycles

    def as_json(self) -> dict[str, Any]:
        """The report's entry for the step."""
        return {
            "model": self.model,
            "target": self.target,
            "dtype": self.dtype,
            "cores": self.cores,
            "macs": self.macs,
            "cycles": self.cycles,
            "mac_per_clk": self.mac_per_clk,
            "operators": [
                {
                    "name": item.name,
                    "op": item.operator,
                    "pass": item.pass_name,
                    "macs": item.macs,
                    "cycles": item.count,
                }
                for item in self.operators
            ],
        }


def count_cycles(directory: Path, *, seed: int = 0) -> CycleCount:
    """One training step of the project in `directory` on a made-up sample; with accumulation, one sample and its update.

    InputError where the project is not for GVSoC.
    """
    options = read_manifest(directory)["options"]
    if options["target"] != "gvsoc":
        raise InputError(
            f"{directory} was compiled for '{options['target']}'; compile it with {option('target', 'gvsoc')}"
        )
    net = DeviceNet(directory)
    train_once(net, seed)
    assert isinstance(net.simulator, GvsocSimulator) and net.simulator.last is not None
    operators = tuple(intervals(net))
    return CycleCount(
        model=str(net.manifest["model"]),
        target="gvsoc",
        dtype=str(options["dtype"]),
        cores=int(options["cores"]),
        macs=int(net.manifest["macs"]["step"]),
        cycles=sum(item.count for item in operators),
        operators=operators,
        seconds=net.simulator.last.seconds,
    )
