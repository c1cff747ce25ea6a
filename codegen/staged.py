"""Template context of programs that run over two memories: tasks on blocks in L1, and the transfers around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from odl.codegen.kernels import KernelSet
from odl.codegen.names import comment_text, unique_identifiers
from odl.codegen.programs import C_TYPES, ShapeSet, call_arguments, describe
from odl.plan.program import PlannedProgram
from odl.plan.staging import AHEAD, Command, StagedTask, Transfer, WaitForStores
from odl.plan.tasks import Block


def task_contexts(program: PlannedProgram, kernels: KernelSet, shapes: ShapeSet) -> list[dict[str, Any]]:
    """Every task of a staged program, with the comment of its node, its pointers, call and transfers."""
    assert program.staging is not None
    numbers = node_numbers(program)
    tasks = []
    for number, staged in enumerate(program.staging.tasks):
        task = staged.task
        tensors, names = _operands(program, staged)
        tasks.append(
            {
                "index": numbers[task.node],
                "comment": _comment(program, staged),
                "function": kernels.name(task.call),
                "arguments": call_arguments(task.call, shapes, names),
                "tensors": tensors,
                "before": _moves(program, staged.before),
                "beside": _moves(program, staged.beside),
                "slot": number % AHEAD,
                "awaited": (number + 1) % AHEAD if staged.await_next else None,
                "wait_for_stores": staged.wait_for_stores,
                "publish": _moves(program, staged.publish),
                "done": task.last_of_node,
            }
        )
    return tasks


def staged_context(program: PlannedProgram, kernels: KernelSet, shapes: ShapeSet) -> dict[str, Any]:
    """What net.c and manifest.json say of a staged program beside its name."""
    assert program.staging is not None
    tasks = task_contexts(program, kernels, shapes)
    nodes = [{"index": task["index"], "function": task["function"]} for task in tasks if task["done"]]
    return {"tasks": tasks, "nodes": nodes, "finish": _moves(program, program.staging.finish)}


def node_numbers(program: PlannedProgram) -> dict[int, int]:
    """Position of each node with a kernel among those that have one, which is its number in manifest.json."""
    called = [index for index, item in enumerate(program.nodes) if item.call is not None]
    return {index: number for number, index in enumerate(called)}


def _comment(program: PlannedProgram, staged: StagedTask) -> str:
    item = program.nodes[staged.task.node]
    text = describe(item, program)
    tiles = [task.task for task in _tasks(program) if task.task.node == staged.task.node]
    if len(tiles) > 1:
        text += f"; part {tiles.index(staged.task) + 1} of {len(tiles)}"
    return text if staged.task.staged else f"{text}; in L2, too large for L1"


def _tasks(program: PlannedProgram) -> Sequence[StagedTask]:
    assert program.staging is not None
    return program.staging.tasks


def _operands(program: PlannedProgram, staged: StagedTask) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Pointers to declare, and what each value's is called."""
    task = staged.task
    given = task.call.tensors
    names = unique_identifiers(list(dict.fromkeys(given.values())))
    tensors = []
    for operand, value in given.items():
        pointer = {
            "name": names[value],
            "type": C_TYPES[program.graph.value(value).dtype],
            **_place(program, staged, task.operands[operand]),
        }
        if pointer not in tensors:
            tensors.append(pointer)
    return tensors, names


def _place(program: PlannedProgram, staged: StagedTask, block: Block) -> dict[str, Any]:
    if staged.task.staged:
        return {"memory": "NET_L1", "offset": staged.addresses[block]}
    return {"memory": "NET_AT", "offset": _arena_offset(program, block)}


def _arena_offset(program: PlannedProgram, block: Block) -> int:
    return program.offsets[block.tensor] + block.part.offset


def _moves(program: PlannedProgram, commands: Sequence[Command]) -> list[dict[str, Any]]:
    return list(_each_move(program, commands))


def _each_move(program: PlannedProgram, commands: Sequence[Command]) -> Iterator[dict[str, Any]]:
    for command in commands:
        if not isinstance(command, Transfer):
            yield {"kind": "stores" if isinstance(command, WaitForStores) else "fetches"}
            continue
        part = command.block.part
        yield {
            "kind": "fetch" if command.inward else "store",
            "slot": None if command.due is None else command.due % AHEAD,
            "l1": command.address,
            "l2": _arena_offset(program, command.block),
            "bytes": part.count,
            "line": part.line if part.lines > 1 else 0,
            "stride": part.stride,
            "tensor": comment_text(command.block.tensor),
        }
