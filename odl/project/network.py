"""What the C project is made from: the schedule, the initial tensors, and what comments and headers state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from odl.graph.ir import Value
from odl.graph.operator import Array
from odl.options import Options
from odl.plan.program import Schedule
from odl.prefix import prefix_of
from odl.project.programs import Program
from odl.project.state_format import Meaning


@dataclass(frozen=True)
class Network:
    """A planned network; `initial` gives parameters and statistics by value name, in PyTorch's layout.

    `trained` names the parameters that training changes.
    """

    name: str
    options: Options
    schedule: Schedule
    initial: Mapping[str, Array]
    input_value: Value
    output_value: Value
    deferred: bool
    trained: frozenset[str]
    meaning: Meaning
    spec: str | None = None

    @property
    def prefix(self) -> str:
        """What the names of its C functions and files begin with."""
        return self.options.prefix or prefix_of(self.name)

    @property
    def batch(self) -> int:
        """Samples in one call."""
        return self.input_value.shape[0]

    def macs(self, program: Program) -> int:
        """Multiply-accumulates of one run of a program."""
        return sum(item.macs for item in self.schedule.programs[program].nodes)
