"""From graphs to programs: binds kernels, plans the memory and has the plan checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odl.graph.ir import Graph, Node, Purpose, Role, Value
from odl.graph.operator import Shape
from odl.operators.base import KernelRequest, Operator
from odl.plan.buffers import Buffer, MemoryPlan
from odl.plan.pack import plan_memory
from odl.plan.program import BoundNode, Keys, PlannedProgram, Schedule, ScheduleRequest
from odl.plan.staging import Staging
from odl.plan.storage import share_storage
from odl.plan.two_levels import local_plan, stage_programs, verify_programs
from odl.plan.verify import Access, PlanError, verify_plan
from odl.project.programs import Program, orders


def bind_kernels(graph: Graph, request: ScheduleRequest) -> tuple[BoundNode, ...]:
    """Ask every operator for its kernel."""
    bound = []
    for node in graph.nodes:
        operator = node.operator
        assert isinstance(operator, Operator)
        given = {name: graph.value(value) for name, value in node.inputs.items()}
        made = {name: graph.value(value) for name, value in node.outputs.items()}
        sums = any(value.role is Role.PARAMETER_GRADIENT for value in made.values())
        accumulate = request.accumulate and sums
        asked = KernelRequest(given, made, request.cores, request.chunk, accumulate)
        bound.append(BoundNode(node, operator.kernel(asked), operator.macs(_shapes(given), _shapes(made))))
    return tuple(bound)


def _shapes(values: Mapping[str, Value]) -> dict[str, Shape]:
    return {name: value.shape for name, value in values.items()}


def make_schedule(graphs: Mapping[Program, Graph], request: ScheduleRequest) -> Schedule:
    """Bind kernels, plan the memory and check the plan with the independent verifier.

    `graphs` in the order of their numbers in the manifest. InputError when `capacity` is too
    small; PlanError when the plan is wrong, which is a defect of odl.
    """
    bound = {name: bind_kernels(graph, request) for name, graph in graphs.items()}
    storages = {name: share_storage(graph, request.shared) for name, graph in graphs.items()}
    keys = Keys(graphs, storages, request)
    stagings = stage_programs(graphs, bound, storages, keys, request)
    buffers = _buffers(graphs, bound, keys, request, stagings)
    plan = plan_memory(buffers, {request.memory: request.capacity})[request.memory]
    offsets = {placement.buffer.name: placement.offset for placement in plan.placements}
    programs = {
        name: PlannedProgram(
            graph,
            bound[name],
            {
                value: offsets[keys.buffer(name, value)]
                for value in graph.values
                if keys.buffer(name, value) in offsets and keys.is_stored(name, value, stagings)
            },
            stagings.get(name),
            storages[name].view_of,
        )
        for name, graph in graphs.items()
    }
    if request.local_capacity is not None:
        local = local_plan(graphs, stagings, keys, request.local_capacity)
        verify_programs(programs, keys, local, plan, request)
        return Schedule(programs, plan, local)
    _verify(graphs, bound, keys, plan)
    return Schedule(programs, plan)


@dataclass
class _Life:
    size: int
    purpose: Purpose
    first: int
    last: int
    persistent: bool


def _buffers(
    graphs: Mapping[Program, Graph],
    bound: Mapping[Program, Sequence[BoundNode]],
    keys: Keys,
    request: ScheduleRequest,
    stagings: Mapping[Program, Staging],
) -> list[Buffer]:
    """Lifetimes over one timeline: each program's steps after the last's; step 0 of each is its caller's input."""
    lives: dict[str, _Life] = {}

    def touch(program: Program, name: str, step: int) -> None:
        if not keys.is_stored(program, name, stagings):
            return
        value = graphs[program].values[name]
        key = keys.buffer(program, name)
        life = lives.get(key)
        if life is None:
            purpose = value.role.purpose
            lives[key] = _Life(value.size_bytes, purpose, step, step, keys.persistent(program, name))
            return
        life.first, life.last = min(life.first, step), max(life.last, step)
        life.size = max(life.size, value.size_bytes)

    clock = 0
    for program, graph in graphs.items():
        start = clock
        for name, value in graph.values.items():
            if value.role.from_caller and graph.consumers(name):
                touch(program, name, start)
        for item in bound[program]:
            clock += 1
            for name in (*item.node.reads, *item.node.writes):
                touch(program, name, clock)
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
    ]


def _check_in_place(program: Program, node: Node, keys: Keys) -> None:
    """A kernel may write over an input only where its operator says so."""
    allowed = {
        (node.outputs.get(pair.output), node.inputs.get(pair.input)) for pair in node.operator.in_place
    }
    for output in node.results:
        for given in node.reads:
            same = keys.buffer(program, output) == keys.buffer(program, given)
            if same and (output, given) not in allowed:
                raise PlanError(
                    f"memory plan: node '{node.name}' would overwrite its input '{given}' with '{output}'"
                )


def _verify(
    graphs: Mapping[Program, Graph],
    bound: Mapping[Program, Sequence[BoundNode]],
    keys: Keys,
    plan: MemoryPlan,
) -> None:
    """Replay every order in which the programs can be called and demand that each read finds its tensor intact."""
    for order in orders(graphs):
        accesses: list[Access] = []
        storage: dict[str, str] = {}
        sizes: dict[str, int] = {}
        initial: set[str] = set()
        for program in order:
            graph = graphs[program]
            for name, value in graph.values.items():
                key = keys.tensor(program, name)
                storage[key], sizes[key] = keys.buffer(program, name), value.size_bytes
                if keys.persistent(program, name):
                    initial.add(key)
            inputs = tuple(
                keys.tensor(program, name)
                for name, value in graph.values.items()
                if value.role.from_caller and graph.consumers(name)
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
                accesses.append(Access(len(accesses), reads, writes))
            outputs = tuple(keys.tensor(program, name) for name in graph.outputs)
            accesses.append(Access(len(accesses), outputs, ()))
        verify_plan(plan, accesses, storage=storage, sizes=sizes, initial=frozenset(initial))
