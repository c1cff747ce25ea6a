"""What a program that was planned moves between its memories, and where its results lie when they are done."""

from __future__ import annotations

from odl.graph.ir import Node
from odl.plan.program import PlannedProgram
from odl.plan.staging import Transfer


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


def traffic(program: PlannedProgram, node: Node) -> dict[str, int]:
    """Bytes of a node's operands, and bytes that the DMA engine moves for it and beside it, inward and outward."""
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
    return {"operand_bytes": sum(sizes), "bytes_in": inward, "bytes_out": outward}
