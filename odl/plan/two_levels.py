"""Programs over two memories: L1 beside the cores, where kernels work, and L2, which holds the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from odl.errors import InputError, option
from odl.graph.ir import Graph
from odl.plan.buffers import Buffer, MemoryPlan, Placement, own_bytes
from odl.plan.incoming import place_incoming
from odl.plan.program import BoundNode, Keys, ScheduleRequest, from_caller
from odl.plan.stager import DoesNotFitError, stage
from odl.plan.staging import Staging, Stay
from odl.plan.storage import Storage
from odl.plan.tasks import Task, make_tasks
from odl.project.programs import Program

LOCAL = "l1"


def stage_programs(
    graphs: Mapping[Program, Graph],
    bound: Mapping[Program, Sequence[BoundNode]],
    storages: Mapping[Program, Storage],
    keys: Keys,
    request: ScheduleRequest,
) -> dict[Program, Staging]:
    """Each program's tasks and moves; empty without L1."""
    capacity = request.local_capacity
    if capacity is None:
        return {}
    stagings = {}
    for name, graph in graphs.items():
        storage = storages[name]
        tasks = make_tasks(graph, [item.call for item in bound[name]], storage, capacity)
        tasks = [_chosen(task, request) for task in tasks]
        kept = {storage.view_of[value] for value in _kept(name, graph, keys)}
        given = {storage.view_of[value] for value in _given(name, graph, keys)}
        try:
            stagings[name] = stage(tasks, kept, given, capacity)
        except DoesNotFitError as error:
            raise InputError(
                f"memory '{LOCAL}' of {capacity:,} bytes is too small for '{name}'; use a larger {option(LOCAL)}"
            ) from error
    return stagings


def _chosen(task: Task, request: ScheduleRequest) -> Task:
    """The task with the variant of its kernel that suits its shape."""
    if request.choose is None or not task.staged:
        return task
    return replace(task, call=request.choose(task.call))


def _kept(program: Program, graph: Graph, keys: Keys) -> Iterator[str]:
    """Values that must be in L2 when the program ends."""
    for name in graph.values:
        if keys.persistent(program, name) or keys.across(program, name) or name in graph.outputs:
            yield name


def _given(program: Program, graph: Graph, keys: Keys) -> Iterator[str]:
    """Values that are in L2 when the program begins."""
    called = from_caller(graph)
    for name in graph.values:
        arrives = keys.across(program, name) and graph.producer(name) is None
        if keys.persistent(program, name) or arrives or name in called:
            yield name


def local_plan(
    graphs: Mapping[Program, Graph], stagings: Mapping[Program, Staging], capacity: int
) -> MemoryPlan:
    """L1 as a plan: every stay of a block is a buffer, each program's tasks after the last's."""
    placements: list[Placement] = []
    starts: dict[Program, int] = {}
    start = 0
    for program, staging in stagings.items():
        starts[program] = start
        for number, stay in enumerate(staging.stays):
            placements.append(_placement(program, graphs[program], stay, number, start))
        start += len(staging.tasks) + 2
    arena = max((item.end for item in placements), default=0)
    for program, start in starts.items():
        placements += place_incoming(program.name, graphs[program], start, arena)
    live: dict[int, list[Placement]] = {}
    for item in placements:
        for step in range(item.buffer.first_step, item.buffer.last_step + 1):
            live.setdefault(step, []).append(item)
    sizes = {step: sum(size for _, size in own_bytes(items)) for step, items in live.items()}
    most = max(sizes.values(), default=0)
    peak_step = min((step for step, size in sizes.items() if size == most), default=0)
    return MemoryPlan(LOCAL, capacity, arena, 0, tuple(placements), peak_step, most)


def _placement(program: Program, graph: Graph, stay: Stay, number: int, start: int) -> Placement:
    tensor = stay.block.tensor
    purpose = graph.values[tensor].role.purpose
    first = start + 1 + max(0, stay.first)
    last = max(first, start + 1 + stay.last)
    name = f"{program}/{tensor}#{number}"
    return Placement(Buffer(name, stay.block.room, purpose, first, last), stay.address)
