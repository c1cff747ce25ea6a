"""Runs one training step on the simulator and divides its cycles among operators and causes.

Everything counts: input conversion, transfers, update, barriers. A node's cycles run from the barrier before it to its
own; stalls are cycles summed over all cores.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from odl.bench.roofline import Bounds, bounds_of
from odl.errors import InputError, option
from odl.run.device import BEGIN, END, INPUT_NODE, DeviceNet
from odl.run.net import Net
from odl.targets.cv32e40p import Cluster, Mark, RunResult


@dataclass(frozen=True)
class OperatorCycles:
    """One node of the step: `stalls` are cycles by cause, summed over the cores ("instructions" are those that issued)."""

    name: str
    operator: str
    pass_name: str
    macs: int
    begin: int
    """The cycle at which it begins, counted from the start of the simulation, as a trace counts."""
    cycles: int
    stalls: Mapping[str, int]
    bounds: Bounds

    @property
    def fraction(self) -> float:
        """How near the node comes to its bound: 1 where it takes no cycle more."""
        return self.bounds.cycles / self.cycles if self.cycles else 0.0

    @property
    def mac_per_clk(self) -> float:
        """Multiply-accumulates per cycle of the cluster."""
        return self.macs / self.cycles if self.cycles else 0.0

    def as_json(self) -> dict[str, Any]:
        """An entry of "operators" in the report."""
        return {
            "name": self.name,
            "op": self.operator,
            "pass": self.pass_name,
            "macs": self.macs,
            "begin": self.begin,
            "cycles": self.cycles,
            "stalls": dict(self.stalls),
            "bound": self.bounds.limit,
            "bound_cycles": self.bounds.as_json(),
            "fraction": self.fraction,
            "operand_bytes": self.bounds.operand_bytes,
        }


@dataclass(frozen=True)
class Measurement:
    """A whole training step."""

    model: str
    target: str
    dtype: str
    cluster: Cluster
    macs: int
    cycles: int
    operators: tuple[OperatorCycles, ...]
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
            "cores": self.cluster.cores,
            "config": dataclasses.asdict(self.cluster),
            "macs": self.macs,
            "cycles": self.cycles,
            "mac_per_clk": self.mac_per_clk,
            "operators": [item.as_json() for item in self.operators],
        }


def measure(directory: Path, cluster: Cluster | None = None, *, seed: int = 0) -> Measurement:
    """One training step of the project in `directory` on a made-up sample; with accumulation, one sample and its update.

    InputError where the project is for a target without a cycle count, or was compiled for another number of cores.
    """
    net = DeviceNet(directory, cluster)
    train_once(net, seed)
    assert net.last is not None
    return _divide(net, net.last)


def train_once(net: Net, seed: int) -> None:
    """One training step on a made-up sample; InputError where it overflows, since that is another program then."""
    random = np.random.default_rng(seed)
    x = random.standard_normal(net.input.shape).astype(np.float32)
    if net.manifest["options"]["loss"] == "cross_entropy":
        y: Any = random.integers(net.output.shape[1], size=net.batch)
    else:
        y = random.standard_normal(net.output.shape).astype(np.float32)
    net.train_step(x, y)
    if net.skipped_steps:
        raise InputError(
            f"the measured step of {net.directory} overflowed; choose a smaller {option('loss_scale')}"
        )


def _divide(net: DeviceNet, result: RunResult) -> Measurement:
    options, manifest = net.manifest["options"], net.manifest
    operators = tuple(_intervals(net, result))
    cycles = sum(item.cycles for item in operators)
    return Measurement(
        model=str(manifest["model"]),
        target=str(options["target"]),
        dtype=str(options["dtype"]),
        cluster=net.cluster,
        macs=int(manifest["macs"]["step"]),
        cycles=cycles,
        operators=operators,
        seconds=result.seconds,
    )


def _intervals(net: DeviceNet, result: RunResult) -> Iterator[OperatorCycles]:
    before: Mark | None = None
    transferring = 0  # cycles of transfers that earlier nodes started and that must run on beside later ones
    for mark in result.marks:
        if mark.id == BEGIN or before is None:
            before = mark
            continue
        name, operator, pass_name, macs = _label(net, mark)
        bounds = bounds_of(_node(net, mark), macs, str(net.manifest["options"]["dtype"]), net.cluster)
        spent = _spent(before, mark)
        cycles = mark.cycle - before.cycle
        transferring += bounds.dma
        bounds = replace(bounds, dma=min(transferring, cycles))
        transferring -= bounds.dma
        yield OperatorCycles(name, operator, pass_name, macs, before.cycle, cycles, spent, bounds)
        before = mark


def _node(net: DeviceNet, mark: Mark) -> Mapping[str, Any]:
    """The node's entry in the manifest; empty for what is no node."""
    if mark.id == END or mark.id & 0xFFFF == INPUT_NODE:
        return {}
    node: Mapping[str, Any] = net.manifest["programs"][mark.id >> 16]["nodes"][mark.id & 0xFFFF]
    return node


def _label(net: DeviceNet, mark: Mark) -> tuple[str, str, str, int]:
    if mark.id == END:
        return "end", "stores", "other", 0
    program = net.manifest["programs"][mark.id >> 16]
    if mark.id & 0xFFFF == INPUT_NODE:
        return f"{program['name']}.input", "input", "other", 0
    node = _node(net, mark)
    return str(node["name"]), str(node["op"]), str(node["pass"]), int(node["macs"])


def _spent(before: Mark, after: Mark) -> dict[str, int]:
    total: Counter[str] = Counter()
    for earlier, later in zip(before.counters, after.counters, strict=True):
        total.update({name: value - earlier[name] for name, value in later.items()})
    return dict(total)
