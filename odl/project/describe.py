"""The manifest of a network that is about to be written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from odl.graph.operator import AbstractOperator
from odl.kernels.call import KernelCall
from odl.plan.program import BoundNode, PlannedProgram
from odl.plan.traffic import last_call, local_place, traffic
from odl.plan.two_levels import LOCAL
from odl.project.manifest import Manifest, MemoryEntry, NodeEntry, ProgramEntry, TensorEntry
from odl.project.network import Network
from odl.project.programs import INFER, STEP
from odl.project.state import waiting_gradients


def describe(
    network: Network, files: Sequence[str], state_bytes: int, function: Callable[[KernelCall], str]
) -> Manifest:
    """The manifest; `function` names the C function that serves a call, `state_bytes` is a saved state's size."""
    schedule = network.schedule
    arena = schedule.memory.memory
    return Manifest(
        network.name,
        network.prefix,
        network.spec,
        network.options,
        network.macs(INFER),
        network.macs(STEP),
        {name: MemoryEntry.of(plan) for name, plan in schedule.memories.items()},
        network.input_value,
        network.output_value,
        tuple(TensorEntry(value, arena, offset) for value, offset in schedule.persistent),
        {name: int(array) for name, array in network.initial.items() if _is_counter(name)},
        tuple(
            ProgramEntry(
                program.name,
                tuple(
                    _node(planned, item, arena, function) for item in planned.nodes if item.call is not None
                ),
            )
            for program, planned in schedule.programs.items()
        ),
        state_bytes,
        network.meaning,
        waiting_gradients(schedule, network.options),
        tuple(files),
    )


def _node(
    program: PlannedProgram, item: BoundNode, arena: str, function: Callable[[KernelCall], str]
) -> NodeEntry:
    operator = item.node.operator
    moved = traffic(program, item.node)
    return NodeEntry(
        item.node.name,
        operator.title,
        operator.pass_name,
        item.macs,
        function(last_call(program, item)),
        _clamp(operator),
        moved.operand_bytes,
        moved.bytes_in,
        moved.bytes_out,
        tuple(_result(program, value, arena) for value in item.node.writes),
    )


def _result(program: PlannedProgram, value: str, arena: str) -> TensorEntry:
    """Where a value is when its node is done: in the arena, or in L1 where it never leaves that."""
    local = local_place(program, value)
    memory, offset = (arena, program.offsets[value]) if local is None else (LOCAL, local)
    return TensorEntry(program.graph.value(value), memory, offset)


def _clamp(operator: AbstractOperator) -> tuple[float, float] | None:
    """Limits of a forward activation, None for a node without one."""
    low, high = getattr(operator, "low", -math.inf), getattr(operator, "high", math.inf)
    if operator.pass_name != "forward" or (low == -math.inf and high == math.inf):
        return None
    return low, high


def _is_counter(name: str) -> bool:
    """Batch norm's count of batches, which a state_dict holds and no kernel needs."""
    return name == "num_batches_tracked" or name.endswith(".num_batches_tracked")
