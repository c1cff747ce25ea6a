"""Programs: graphs bound to kernels, in the order they run, with every tensor at its address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from odl.graph.ir import Graph, Node, Role, Value
from odl.operators.base import KernelCall, KernelRequest
from odl.plan.buffers import Buffer, MemoryPlan, Purpose
from odl.plan.pack import plan_memory
from odl.plan.storage import Storage, share_storage
from odl.plan.verify import Access, PlanError, verify_plan

_PURPOSES = {
    Role.PARAMETER: Purpose.WEIGHTS,
    Role.WORKING_COPY: Purpose.WEIGHTS,
    Role.STATISTIC: Purpose.STATISTICS,
    Role.OPTIMIZER: Purpose.OPTIMIZER,
    Role.INPUT: Purpose.INPUTS,
    Role.TARGET: Purpose.INPUTS,
    Role.SAMPLE_WEIGHT: Purpose.INPUTS,
    Role.LOSS: Purpose.ACTIVATIONS,
    Role.ACTIVATION: Purpose.ACTIVATIONS,
    Role.SAVED: Purpose.ACTIVATIONS,
    Role.GRADIENT: Purpose.GRADIENTS,
    Role.PARAMETER_GRADIENT: Purpose.GRADIENTS,
    Role.SCRATCH: Purpose.SCRATCH,
}
_FROM_CALLER = {Role.INPUT, Role.TARGET, Role.SAMPLE_WEIGHT}


@dataclass(frozen=True)
class BoundNode:
    """A node with the kernel that serves it; `call` is None for a view."""

    node: Node
    call: KernelCall | None
    macs: int


@dataclass(frozen=True)
class Program:
    """A graph bound to kernels; `offsets` gives every value's byte address in the arena, `scratch` every node's."""

    graph: Graph
    nodes: tuple[BoundNode, ...]
    offsets: Mapping[str, int] = field(default_factory=dict)
    scratch: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Schedule:
    """All programs of a network over one arena."""

    programs: Mapping[str, Program]
    memory: MemoryPlan

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
    """

    cores: int
    chunk: int | None
    accumulate: bool
    shared: Mapping[str, str]
    capacity: int | None
    memory: str = "ram"


def bind_kernels(graph: Graph, request: ScheduleRequest) -> tuple[BoundNode, ...]:
    """Ask every operator for its kernel."""
    bound = []
    for node in graph.nodes:
        inputs = tuple(None if name is None else graph.value(name) for name in node.inputs)
        outputs = tuple(graph.value(name) for name in node.outputs)
        accumulate = request.accumulate and any(value.role is Role.PARAMETER_GRADIENT for value in outputs)
        call = node.operator.kernel(KernelRequest(inputs, outputs, request.cores, request.chunk, accumulate))
        shapes = [None if value is None else value.shape for value in inputs]
        bound.append(BoundNode(node, call, node.operator.macs(shapes, [value.shape for value in outputs])))
    return tuple(bound)


def make_schedule(graphs: Mapping[str, Graph], request: ScheduleRequest) -> Schedule:
    """Bind kernels, plan the memory and check the plan with the independent verifier.

    `graphs` in running order: step, apply, skip, infer, refresh, those that exist. InputError when `capacity` is too
    small; PlanError when the plan is wrong, which is a defect of odl.
    """
    bound = {name: bind_kernels(graph, request) for name, graph in graphs.items()}
    storages = {name: share_storage(graph, request.shared) for name, graph in graphs.items()}
    keys = _Keys(graphs, storages, request)
    buffers = _buffers(graphs, bound, keys, request)
    plan = plan_memory(buffers, {request.memory: request.capacity})[request.memory]
    offsets = {placement.buffer.name: placement.offset for placement in plan.placements}
    programs = {
        name: Program(
            graph,
            bound[name],
            {
                value: offsets[keys.buffer(name, value)]
                for value in graph.values
                if keys.buffer(name, value) in offsets
            },
            {
                item.node.name: offsets[keys.scratch(name, item.node)]
                for item in bound[name]
                if item.call is not None and item.call.scratch_bytes
            },
        )
        for name, graph in graphs.items()
    }
    schedule = Schedule(programs, plan)
    _verify(graphs, bound, keys, plan)
    return schedule


class _Keys:
    """Names of buffers and tensors: plain for what outlives a program, prefixed with the program for the rest."""

    def __init__(
        self, graphs: Mapping[str, Graph], storages: Mapping[str, Storage], request: ScheduleRequest
    ) -> None:
        self._graphs, self._storages, self._request = graphs, storages, request
        applied = graphs["apply"].values if "apply" in graphs else {}
        self._across = {name for name, value in applied.items() if value.role is Role.PARAMETER_GRADIENT}

    def _key(self, program: str, name: str) -> str:
        value = self._graphs[program].values[name]
        return name if value.persistent or name in self._across else f"{program}/{name}"

    def tensor(self, program: str, name: str) -> str:
        """Key of the bytes that a value names: a view has its source's key."""
        return self._key(program, self._storages[program].view_of[name])

    def buffer(self, program: str, name: str) -> str:
        """Key of the buffer that a value lives in."""
        storage = self._request.shared.get(name)
        if storage is not None:
            return storage
        return self._key(program, self._storages[program].buffer_of[name])

    def scratch(self, program: str, node: Node) -> str:
        """Key of a node's scratch memory."""
        return f"{program}/{node.name}.scratch"

    def persistent(self, program: str, name: str) -> bool:
        """Whether the value's bytes survive between calls."""
        value = self._graphs[program].values[name]
        return value.persistent or (self._request.accumulate and name in self._across)


@dataclass
class _Life:
    size: int
    purpose: Purpose
    first: int
    last: int
    persistent: bool


def _buffers(
    graphs: Mapping[str, Graph],
    bound: Mapping[str, Sequence[BoundNode]],
    keys: _Keys,
    request: ScheduleRequest,
) -> list[Buffer]:
    """Lifetimes over one timeline: each program's steps after the last's; step 0 of each is its caller's input."""
    lives: dict[str, _Life] = {}

    def touch(program: str, name: str, step: int) -> None:
        value = graphs[program].values[name]
        key = keys.buffer(program, name)
        life = lives.get(key)
        if life is None:
            purpose = _PURPOSES[value.role]
            lives[key] = _Life(value.size_bytes, purpose, step, step, keys.persistent(program, name))
            return
        life.first, life.last = min(life.first, step), max(life.last, step)
        life.size = max(life.size, value.size_bytes)

    clock = 0
    scratch: list[Buffer] = []
    for program, graph in graphs.items():
        start = clock
        for name, value in graph.values.items():
            if value.role in _FROM_CALLER and graph.consumers(name):
                touch(program, name, start)
        for item in bound[program]:
            clock += 1
            for name in (*item.node.reads, *item.node.writes):
                touch(program, name, clock)
            if item.call is not None and item.call.scratch_bytes:
                name = keys.scratch(program, item.node)
                size = item.call.scratch_bytes
                scratch.append(Buffer(name, size, Purpose.SCRATCH, clock, clock, memory=request.memory))
        clock += 1
        for name in graph.outputs:
            touch(program, name, clock)
        clock += 1
    end = clock
    return [
        Buffer(
            key,
            life.size,
            life.purpose,
            0 if life.persistent else life.first,
            end if life.persistent else life.last,
            memory=request.memory,
            persistent=life.persistent,
        )
        for key, life in lives.items()
    ] + scratch


def _check_in_place(program: str, node: Node, keys: _Keys) -> None:
    """A kernel may write over an input only where its operator says so."""
    allowed = {(node.outputs[output], node.inputs[given]) for output, given in _pairs(node)}
    for output in node.outputs:
        for given in node.reads:
            same = keys.buffer(program, output) == keys.buffer(program, given)
            if same and (output, given) not in allowed:
                raise PlanError(
                    f"memory plan: node '{node.name}' would overwrite its input '{given}' with '{output}'"
                )


def _pairs(node: Node) -> list[tuple[int, int]]:
    return [
        pair for pair in node.operator.in_place if pair[1] < len(node.inputs) and pair[0] < len(node.outputs)
    ]


def _verify(
    graphs: Mapping[str, Graph],
    bound: Mapping[str, Sequence[BoundNode]],
    keys: _Keys,
    plan: MemoryPlan,
) -> None:
    """Replay every order in which the programs can be called and demand that each read finds its tensor intact."""
    step = [name for name in ("step",) if name in graphs]
    endings = [[name] for name in ("apply", "skip") if name in graphs] or [[]]
    for ending in endings:
        order = [*step, *ending, "infer"]
        accesses: list[Access] = []
        storage: dict[str, str] = {}
        sizes: dict[str, int] = {}
        initial: set[str] = set()
        for program in (name for name in order if name in graphs):
            graph = graphs[program]
            for name, value in graph.values.items():
                key = keys.tensor(program, name)
                storage[key], sizes[key] = keys.buffer(program, name), value.size_bytes
                if keys.persistent(program, name):
                    initial.add(key)
            inputs = tuple(
                keys.tensor(program, name)
                for name, value in graph.values.items()
                if value.role in _FROM_CALLER and graph.consumers(name)
            )
            accesses.append(Access(len(accesses), (), inputs))
            for item in bound[program]:
                if item.node.operator.is_view:
                    continue
                reads = tuple(
                    keys.tensor(program, name)
                    for name in item.node.reads
                    if not (name in item.node.writes and graph.values[name].role is Role.WORKING_COPY)
                )
                writes = tuple(keys.tensor(program, name) for name in item.node.writes)
                _check_in_place(program, item.node, keys)
                if item.call is not None and item.call.scratch_bytes:
                    scratch = keys.scratch(program, item.node)
                    storage[scratch], sizes[scratch] = scratch, item.call.scratch_bytes
                    writes += (scratch,)
                accesses.append(Access(len(accesses), reads, writes))
            outputs = tuple(keys.tensor(program, name) for name in graph.outputs)
            accesses.append(Access(len(accesses), outputs, ()))
        verify_plan(plan, accesses, storage=storage, sizes=sizes, initial=frozenset(initial))
