"""Counts the instructions of one training step on QEMU, whole and by operator. Instructions are not cycles.

The count is of all harts together. A node's instructions run from the mark before it to its own, barrier and mark included.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odl.bench.measure import train_once
from odl.errors import InputError, option
from odl.project.manifest import read_manifest
from odl.run.device import BEGIN, END, INPUT_NODE, DeviceNet
from odl.targets.qemu import Machine


@dataclass(frozen=True)
class OperatorInstructions:
    """One node of the step."""

    name: str
    operator: str
    pass_name: str
    macs: int
    instructions: int

    def as_json(self) -> dict[str, Any]:
        """An entry of "operators" in the report."""
        return {
            "name": self.name,
            "op": self.operator,
            "pass": self.pass_name,
            "macs": self.macs,
            "instructions": self.instructions,
        }


@dataclass(frozen=True)
class InstructionCount:
    """A whole training step."""

    model: str
    target: str
    dtype: str
    machine: Machine
    macs: int
    instructions: int
    operators: tuple[OperatorInstructions, ...]

    @property
    def macs_per_instruction(self) -> float:
        """Multiply-accumulates of the step per instruction, everything counted."""
        return self.macs / self.instructions

    def as_json(self) -> dict[str, Any]:
        """The report's entry for the step."""
        return {
            "model": self.model,
            "target": self.target,
            "dtype": self.dtype,
            "cores": self.machine.harts,
            "config": dataclasses.asdict(self.machine),
            "macs": self.macs,
            "instructions": self.instructions,
            "macs_per_instruction": self.macs_per_instruction,
            "operators": [item.as_json() for item in self.operators],
        }


def count_instructions(directory: Path, vlen: int = 128, *, seed: int = 0) -> InstructionCount:
    """One training step of the project in `directory` on a made-up sample; with accumulation, one sample and its update.

    InputError where the project is not for QEMU.
    """
    options = read_manifest(directory)["options"]
    if options["target"] != "qemu":
        raise InputError(
            f"{directory} was compiled for '{options['target']}'; compile it with {option('target', 'qemu')}"
        )
    machine = Machine(str(options["isa"]), int(options["cores"]), vlen, counted=True)
    net = DeviceNet(directory, machine)
    train_once(net, seed)
    operators = tuple(_intervals(net))
    return InstructionCount(
        model=str(net.manifest["model"]),
        target="qemu",
        dtype=str(options["dtype"]),
        machine=machine,
        macs=int(net.manifest["macs"]["step"]),
        instructions=sum(item.instructions for item in operators),
        operators=operators,
    )


def _intervals(net: DeviceNet) -> Iterator[OperatorInstructions]:
    before: int | None = None
    for mark, count in net.marks:
        if mark != BEGIN and before is not None:
            yield OperatorInstructions(*_label(net, mark), count - before)
        before = count


def _label(net: DeviceNet, mark: int) -> tuple[str, str, str, int]:
    if mark == END:
        return "end", "stores", "other", 0
    program = net.manifest["programs"][mark >> 16]
    if mark & 0xFFFF == INPUT_NODE:
        return f"{program['name']}.input", "input", "other", 0
    node = program["nodes"][mark & 0xFFFF]
    return str(node["name"]), str(node["op"]), str(node["pass"]), int(node["macs"])
