"""Runs one training step on a simulator and divides what it counts among the nodes of the network.

Everything counts: input conversion, transfers, update, barriers. A node's count runs from the mark before it to its own,
barrier and mark included. Where the simulator has every core's counters, a node's stalls are cycles summed over all cores.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from odl.bench.bounds import Bounds, bounds_of
from odl.errors import InputError, option
from odl.project.manifest import NodeEntry, read_manifest
from odl.run.device import BEGIN, END, INPUT_NODE, DeviceNet
from odl.run.net import Net
from odl.targets.common.session import Mark, SimulatedMachine, Unit


@dataclass(frozen=True)
class OperatorCount:
    """One node of the step: `count` in the measurement's unit.

    `stalls` are cycles by cause, summed over the cores ("instructions" are those that issued); they and `bounds` are None
    where the simulator does not say where cycles went.
    """

    name: str
    operator: str
    pass_name: str
    macs: int
    begin: int
    """The count at which it begins, from the start of the simulation, as a trace counts."""
    count: int
    stalls: Mapping[str, int] | None = None
    bounds: Bounds | None = None

    @property
    def fraction(self) -> float:
        """How near the node comes to its bound: 1 where it takes no cycle more."""
        return self.bounds.cycles / self.count if self.bounds is not None and self.count else 0.0

    @property
    def rate(self) -> float:
        """Multiply-accumulates per cycle of the cluster, or per instruction."""
        return self.macs / self.count if self.count else 0.0

    def as_json(self, unit: Unit) -> dict[str, Any]:
        """An entry of "operators" in the report."""
        entry = {"name": self.name, "op": self.operator, "pass": self.pass_name, "macs": self.macs}
        if self.stalls is None or self.bounds is None:
            return entry | {str(unit): self.count}
        return entry | {
            "begin": self.begin,
            str(unit): self.count,
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
    isa: str | None
    dtype: str
    cores: int
    machine: SimulatedMachine | None
    """None where nothing describes it."""
    macs: int
    unit: Unit
    count: int
    operators: tuple[OperatorCount, ...]
    seconds: float
    """Wall time of the simulation."""

    @property
    def rate(self) -> float:
        """Multiply-accumulates of the step per cycle or per instruction, everything counted."""
        return self.macs / self.count

    def as_json(self) -> dict[str, Any]:
        """The report's entry for the step."""
        return {
            "model": self.model,
            "target": self.target,
            "dtype": self.dtype,
            "cores": self.cores,
            **({} if self.machine is None else {"config": dataclasses.asdict(self.machine)}),
            "macs": self.macs,
            str(self.unit): self.count,
            _RATES[self.unit]: self.rate,
            "operators": [item.as_json(self.unit) for item in self.operators],
        }


#: What the report calls multiply-accumulates per unit.
_RATES = {Unit.CYCLES: "mac_per_clk", Unit.INSTRUCTIONS: "macs_per_instruction"}


def measure(directory: Path, machine: SimulatedMachine | None = None, *, seed: int = 0) -> Measurement:
    """One training step of the project in `directory` on a made-up sample; with accumulation, one sample and its update.

    `machine` is what its target's `machine` gives, by default with nothing chosen. InputError where nothing is counted, or
    the project was compiled for another target or number of cores.
    """
    options = read_manifest(directory).options
    if machine is None:
        machine = options.description.machine(options.core_count, counted=True)
    net = DeviceNet(directory, machine)
    train_once(net, seed)
    assert net.last is not None and net.unit is not Unit.NOTHING
    operators = tuple(divided(net))
    return Measurement(
        model=net.project.model,
        target=net.target.name,
        isa=net.target.instruction_set.name,
        dtype=str(options.dtype),
        cores=options.core_count,
        machine=net.session.machine,
        macs=net.project.step_macs,
        unit=net.unit,
        count=sum(item.count for item in operators),
        operators=operators,
        seconds=net.last.seconds,
    )


def train_once(net: Net, seed: int) -> None:
    """One training step on a made-up sample; InputError where it overflows, since that is another program then."""
    random = np.random.default_rng(seed)
    x = random.standard_normal(net.input.shape).astype(np.float32)
    if net.project.options.loss == "cross_entropy":
        y: Any = random.integers(net.output.shape[1], size=net.batch)
    else:
        y = random.standard_normal(net.output.shape).astype(np.float32)
    net.train_step(x, y)
    if net.skipped_steps:
        raise InputError(
            f"the measured step of {net.directory} overflowed; choose a smaller {option('loss_scale')}"
        )


def divided(net: DeviceNet) -> Iterator[OperatorCount]:
    """The nodes of the latest call, in the order in which they ran."""
    before: Mark | None = None
    transferring = 0  # cycles of transfers that earlier nodes started and that must run on beside later ones
    for mark in net.marks:
        if mark.id == BEGIN or before is None:
            before = mark
            continue
        node = _node(net, mark.id)
        item = replace(_labelled(net, mark.id, node), begin=before.count, count=mark.count - before.count)
        if mark.counters:
            bounds = bounds_of(node, item.macs, str(net.project.options.dtype), net.session.machine)
            transferring += bounds.dma
            bounds = replace(bounds, dma=min(transferring, item.count))
            transferring -= bounds.dma
            item = replace(item, stalls=_spent(before, mark), bounds=bounds)
        yield item
        before = mark


def _node(net: DeviceNet, mark: int) -> NodeEntry | None:
    """The node that a mark ends; None for what is no node."""
    if mark == END or mark & 0xFFFF == INPUT_NODE:
        return None
    return net.project.programs[mark >> 16].nodes[mark & 0xFFFF]


def _labelled(net: DeviceNet, mark: int, node: NodeEntry | None) -> OperatorCount:
    """What a mark ends, with nothing counted yet."""
    if mark == END:
        return OperatorCount("end", "stores", "other", 0, 0, 0)
    if node is None:
        return OperatorCount(f"{net.project.programs[mark >> 16].name}.input", "input", "other", 0, 0, 0)
    return OperatorCount(node.name, node.operator, node.pass_name, node.macs, 0, 0)


def _spent(before: Mark, after: Mark) -> dict[str, int]:
    total: Counter[str] = Counter()
    for earlier, later in zip(before.counters, after.counters, strict=True):
        total.update({name: value - earlier[name] for name, value in later.items()})
    return dict(total)
