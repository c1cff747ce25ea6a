"""From graphs to programs: binds kernels, plans the memory and has the plan checked."""

from __future__ import annotations

from collections.abc import Mapping

from odl.graph.ir import Graph, Role, Value
from odl.graph.operator import Shape
from odl.operators.base import KernelRequest, Operator
from odl.plan.lifetimes import lifetimes
from odl.plan.pack import plan_memory
from odl.plan.program import BoundNode, Keys, PlannedProgram, Schedule, ScheduleRequest
from odl.plan.storage import Storage, share_storage
from odl.plan.two_levels import local_plan, stage_programs
from odl.plan.verify_schedule import verify_schedule
from odl.project.programs import Program, chained


def bind_kernels(graph: Graph, request: ScheduleRequest, accumulate: bool) -> tuple[BoundNode, ...]:
    """Ask every operator for its kernel; `accumulate` adds parameters' gradients to what is there."""
    bound = []
    for node in graph.nodes:
        operator = node.operator
        assert isinstance(operator, Operator)
        given = {name: graph.value(value) for name, value in node.inputs.items()}
        made = {name: graph.value(value) for name, value in node.outputs.items()}
        sums = any(value.role is Role.PARAMETER_GRADIENT for value in made.values())
        asked = KernelRequest(given, made, request.cores, request.chunk, accumulate and sums)
        bound.append(BoundNode(node, operator.kernel(asked), operator.macs(_shapes(given), _shapes(made))))
    return tuple(bound)


def _shapes(values: Mapping[str, Value]) -> dict[str, Shape]:
    return {name: value.shape for name, value in values.items()}


def make_schedule(graphs: Mapping[Program, Graph], request: ScheduleRequest) -> Schedule:
    """Bind kernels, plan the memory and check the plan with the independent verifier.

    `graphs` in the order of their numbers in the manifest. InputError when a memory is too small; PlanError when the plan
    is wrong, which is a defect of odl.
    """
    bound: dict[Program, tuple[BoundNode, ...]] = {}
    storages: dict[Program, Storage] = {}
    for program, graph in graphs.items():
        hands_on = program in chained(graphs)
        bound[program] = bind_kernels(graph, request, request.accumulate and hands_on)
        storages[program] = share_storage(graph, request.shared if hands_on else {})
    keys = Keys(graphs, storages, request)
    stagings = stage_programs(graphs, bound, storages, keys, request)
    plan = plan_memory(lifetimes(graphs, keys, stagings), request.memory, request.capacity)
    programs: dict[Program, PlannedProgram] = {}
    addresses = plan.offsets
    for program, graph in graphs.items():
        offsets = {
            value: addresses[keys.buffer(program, value)]
            for value in graph.values
            if keys.buffer(program, value) in addresses and keys.is_stored(program, value, stagings)
        }
        view_of = storages[program].view_of
        programs[program] = PlannedProgram(graph, bound[program], offsets, stagings.get(program), view_of)
    capacity = request.local_capacity
    local = None if capacity is None else local_plan(graphs, stagings, capacity)
    schedule = Schedule(programs, plan, local)
    verify_schedule(schedule, keys)
    return schedule
