"""Replays every order in which the programs of a schedule can be called, and demands that each read finds its bytes.

`orders` (odl/project/programs.py) gives the orders. A schedule over one memory is replayed access by access
(`verify_plan`), one over two memories task by task and transfer by transfer (`verify_staging.replay`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from odl.graph.ir import Node, Role
from odl.plan.buffers import MemoryPlan
from odl.plan.program import Keys, PlannedProgram, Schedule, from_caller
from odl.plan.replay import Access, PlanError, check_capacity, verify_plan
from odl.plan.verify_staging import Memories, Places, demand, give, replay
from odl.project.programs import Program, orders

#: Every order is run this often: what one run leaves behind is what the next one finds.
_RUNS = 2


def verify_schedule(schedule: Schedule, keys: Keys) -> None:
    """PlanError where a kernel or the caller would find wrong bytes; `keys` names tensors and buffers."""
    for order in orders(schedule.programs):
        programs = {program: schedule.programs[program] for program in order}
        if schedule.local is None:
            _replay_arena(programs, keys, schedule.memory)
        else:
            _replay_staged(programs, keys, schedule.local, schedule.memory)


# --------------------------------------------------------------------------------------------------- one memory
def _replay_arena(programs: Mapping[Program, PlannedProgram], keys: Keys, plan: MemoryPlan) -> None:
    storage: dict[str, str] = {}
    sizes: dict[str, int] = {}
    initial: set[str] = set()
    accesses: list[Access] = []
    steps = itertools.count()
    for program, planned in programs.items():
        for name, value in planned.graph.values.items():
            key = keys.tensor(program, name)
            storage[key], sizes[key] = keys.buffer(program, name), value.size_bytes
            if keys.persistent(program, name):
                initial.add(key)
        accesses += _accesses(program, planned, keys, steps)
    verify_plan(plan, accesses, storage=storage, sizes=sizes, initial=initial, runs=_RUNS)


def _accesses(
    program: Program, planned: PlannedProgram, keys: Keys, steps: Iterator[int]
) -> Iterator[Access]:
    """The caller's writes, each node's reads and writes, and the caller's reads of the outputs."""
    graph = planned.graph

    def tensors(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(keys.tensor(program, name) for name in names)

    yield Access(next(steps), (), tensors(from_caller(graph)))
    for node in graph.nodes:
        if node.operator.is_view:
            continue
        _check_in_place(program, node, keys)
        made_anew = {name for name in node.writes if graph.values[name].role is Role.WORKING_COPY}
        reads = tuple(name for name in node.reads if name not in made_anew)
        yield Access(next(steps), tensors(reads), tensors(node.writes))
    yield Access(next(steps), tensors(graph.outputs), ())


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


# ------------------------------------------------------------------------------------------------ two memories
def _replay_staged(
    programs: Mapping[Program, PlannedProgram], keys: Keys, local: MemoryPlan, plan: MemoryPlan
) -> None:
    for memory in (local, plan):
        check_capacity(memory)
    memories = Memories.of(local.capacity or 0, plan.arena_bytes)
    places = {program: _places(program, planned, keys) for program, planned in programs.items()}
    for program, planned in programs.items():
        for value in _persistent(program, planned, keys):
            if places[program].key[value] not in memories.newest:
                give(memories, places[program], value)
    for _ in range(_RUNS):
        for program, planned in programs.items():
            _call(memories, places[program], program, planned, keys)


def _call(memories: Memories, places: Places, program: Program, planned: PlannedProgram, keys: Keys) -> None:
    for value in from_caller(planned.graph):
        give(memories, places, value)
    assert planned.staging is not None
    replay(memories, places, planned.staging, program.name)
    for value in (*planned.graph.outputs, *_persistent(program, planned, keys)):
        # A working copy whose memory a gradient has taken over is nobody's until the update makes it anew.
        if places.key[value] in memories.newest and not keys.taken_over(program, value):
            demand(memories, places, planned.view_of[value], f"the end of '{program}'")


def _persistent(program: Program, planned: PlannedProgram, keys: Keys) -> list[str]:
    return [value for value in planned.graph.values if keys.persistent(program, value)]


def _places(program: Program, planned: PlannedProgram, keys: Keys) -> Places:
    values = planned.graph.values
    return Places(
        key={value: keys.tensor(program, value) for value in values},
        size={value: item.size_bytes for value, item in values.items()},
        large={value: planned.offsets.get(value) for value in values},
    )
