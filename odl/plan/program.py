"""What a plan consists of: programs, graphs bound to kernels with every tensor at its address, over one arena."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from odl.graph.ir import Graph, Node, Role, Value
from odl.kernels.call import KernelCall
from odl.plan.buffers import MemoryPlan
from odl.plan.staging import Staging
from odl.plan.storage import Storage
from odl.project.programs import Program, chained


def from_caller(graph: Graph) -> tuple[str, ...]:
    """The values that the caller of a program hands in, as far as a node reads them."""
    return tuple(
        name for name, value in graph.values.items() if value.role.from_caller and graph.consumers(name)
    )


@dataclass(frozen=True)
class BoundNode:
    """A node with the kernel that serves it; `call` is None for a view."""

    node: Node
    call: KernelCall | None
    macs: int


@dataclass(frozen=True)
class PlannedProgram:
    """A graph bound to kernels; `offsets` gives every value's byte address in the arena.

    With L1 beside the cores `staging` says how its tasks run; a value that never leaves L1
    has no offset then. `view_of` maps each value to the one whose bytes it is.
    """

    graph: Graph
    nodes: tuple[BoundNode, ...]
    offsets: Mapping[str, int] = field(default_factory=dict)
    staging: Staging | None = None
    view_of: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Schedule:
    """All programs of a network over one arena; `local` is the plan of L1, where there is one."""

    programs: Mapping[Program, PlannedProgram]
    memory: MemoryPlan
    local: MemoryPlan | None = None

    @property
    def memories(self) -> dict[str, MemoryPlan]:
        """The plan of each memory by its name, the small one first."""
        plans = [self.memory] if self.local is None else [self.local, self.memory]
        return {plan.memory: plan for plan in plans}

    @property
    def persistent(self) -> tuple[tuple[Value, int], ...]:
        """The values that outlive a step, with their addresses, in address order."""
        found: dict[str, tuple[Value, int]] = {}
        for program in self.programs.values():
            for name, value in program.graph.values.items():
                if value.persistent and name in program.offsets:
                    found[name] = (value, program.offsets[name])
        return tuple(sorted(found.values(), key=lambda item: item[1]))


@dataclass(frozen=True)
class ScheduleRequest:
    """What the schedule depends on besides the graphs.

    `shared` maps a gradient to the working copy whose memory it takes over; `accumulate` makes gradients persistent.
    `capacity`: bytes of the arena's memory; `local_capacity`: bytes of L1, None without one.
    `choose` picks the variant of every kernel call that works in L1; None leaves them as they are.
    """

    cores: int
    chunk: int | None
    accumulate: bool
    shared: Mapping[str, str]
    capacity: int | None
    memory: str = "ram"
    local_capacity: int | None = None
    choose: Callable[[KernelCall], KernelCall] | None = None


class Keys:
    """Names of buffers and tensors: plain for what outlives a program, prefixed with the program for the rest."""

    def __init__(
        self, graphs: Mapping[Program, Graph], storages: Mapping[Program, Storage], request: ScheduleRequest
    ) -> None:
        self._graphs, self._storages, self._request = graphs, storages, request
        self._chained = chained(graphs)
        following = [graph.values for program, graph in graphs.items() if program.follows]
        self._across = {
            name for values in following for name, value in values.items() if value.role.handed_on
        }

    def _key(self, program: Program, name: str) -> str:
        value = self._graphs[program].values[name]
        return name if value.persistent or self.across(program, name) else f"{program}/{name}"

    def tensor(self, program: Program, name: str) -> str:
        """Key of the bytes that a value names: a view has its source's key."""
        return self._key(program, self._storages[program].view_of[name])

    def buffer(self, program: Program, name: str) -> str:
        """Key of the buffer that a value lives in."""
        if program in self._chained and name in self._request.shared:
            return self._request.shared[name]
        return self._key(program, self._storages[program].buffer_of[name])

    def is_stored(self, program: Program, name: str, stagings: Mapping[Program, Staging]) -> bool:
        """Whether the value has a place in the arena; without L1 all have."""
        if program not in stagings:
            return True
        return self._storages[program].view_of[name] in stagings[program].stored

    def across(self, program: Program, name: str) -> bool:
        """Whether the value is handed from a program to one that follows it."""
        return program in self._chained and name in self._across

    def taken_over(self, program: Program, name: str) -> bool:
        """Whether one of the program's gradients takes over the value's memory."""
        given = self._graphs[program].values if program in self._chained else ()
        return any(self._request.shared.get(other) == name for other in given)

    def persistent(self, program: Program, name: str) -> bool:
        """Whether the value's bytes survive between calls."""
        value = self._graphs[program].values[name]
        waits = self._request.accumulate and value.role is Role.PARAMETER_GRADIENT
        return value.persistent or (waits and self.across(program, name))
