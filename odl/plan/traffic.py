"""What a program that was planned moves between its memories, and where its results lie when they are done."""

from __future__ import annotations

from dataclasses import dataclass

from odl.graph.ir import Node
from odl.kernels.call import KernelCall
from odl.plan.program import BoundNode, PlannedProgram
from odl.plan.staging import Transfer


@dataclass(frozen=True)
class Traffic:
    """Bytes of a node's operands, and bytes that the DMA engine moves for it and beside it, inward and outward."""

    operand_bytes: int
    bytes_in: int
    bytes_out: int


def local_place(program: PlannedProgram, value: str) -> int | None:
    """The L1 address at which a whole value is complete, where it never leaves L1."""
    root = program.view_of[value]
    if program.staging is None or root in program.staging.stored:
        return None
    places = [
        staged.addresses[block]
        for staged in program.staging.tasks
        for block in staged.task.writes
        if block.tensor == root
    ]
    return places[-1] if places else None


def traffic(program: PlannedProgram, node: Node) -> Traffic:
    """What a node's operands are and what is moved for them."""
    sizes = [program.graph.value(name).size_bytes for name in dict.fromkeys((*node.reads, *node.writes))]
    inward = outward = 0
    for staged in program.staging.tasks if program.staging is not None else ():
        if program.nodes[staged.task.node].node.name != node.name:
            continue
        for command in (*staged.before, *staged.beside):
            if isinstance(command, Transfer) and command.inward:
                inward += command.block.part.count
            elif isinstance(command, Transfer):
                outward += command.block.part.count
    return Traffic(sum(sizes), inward, outward)


def last_call(program: PlannedProgram, item: BoundNode) -> KernelCall:
    """The call that completes a node's results: its own, or that of its last task."""
    assert item.call is not None
    calls = [
        staged.task.call
        for staged in (program.staging.tasks if program.staging is not None else ())
        if program.nodes[staged.task.node] is item
    ]
    return calls[-1] if calls else item.call
