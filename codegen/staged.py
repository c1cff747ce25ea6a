"""Template context of programs that run over two memories: tasks on blocks in L1, and the transfers around them."""

from __future__ import annotations

from collections.abc import Sequence

from odl.codegen.kernels import KernelSet
from odl.codegen.names import comment_text, unique_identifiers
from odl.codegen.programs import (
    C_TYPES,
    CallText,
    Move,
    Pointer,
    ProgramText,
    ShapeSet,
    TaskText,
    call_arguments,
    describe,
    loss_pointer,
    updates,
)
from odl.plan.program import PlannedProgram
from odl.plan.staging import AHEAD, Command, StagedTask, Transfer, WaitForStores
from odl.plan.tasks import Block
from odl.project.programs import Program


def staged_text(
    index: int,
    program: Program,
    planned: PlannedProgram,
    kernels: KernelSet,
    shapes: ShapeSet,
) -> ProgramText:
    """A program whose kernels work in the small memory."""
    assert planned.staging is not None
    tasks = _task_texts(planned, kernels, shapes)
    nodes = [CallText(task.call.index, task.call.function) for task in tasks if task.done]
    finish = _moves(planned, planned.staging.finish)
    return ProgramText(index, program, (), nodes, tasks, finish, updates(planned))


def _task_texts(program: PlannedProgram, kernels: KernelSet, shapes: ShapeSet) -> list[TaskText]:
    numbers = node_numbers(program)
    texts = []
    for number, staged in enumerate(_tasks(program)):
        task = staged.task
        tensors, names = _operands(program, staged, kernels.prefix)
        arguments = call_arguments(task.call, kernels, shapes, names)
        texts.append(
            TaskText(
                CallText(
                    numbers[task.node],
                    kernels.name(task.call),
                    _comment(program, staged),
                    arguments,
                    task.guarded,
                    loss_pointer(program.nodes[task.node], program, names),
                ),
                tensors,
                _moves(program, staged.before),
                _moves(program, staged.beside),
                _moves(program, staged.publish),
                slot=number % AHEAD,
                awaited=(number + 1) % AHEAD if staged.await_next else None,
                wait_for_stores=staged.wait_for_stores,
                done=task.last_of_node,
            )
        )
    return texts


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


def _operands(
    program: PlannedProgram, staged: StagedTask, prefix: str
) -> tuple[list[Pointer], dict[str, str]]:
    """Pointers to declare, and what each operand's is called.

    Two operands of one value that are different blocks of it, as a tile with its halo and without, have a pointer each.
    """
    task = staged.task
    given = task.call.tensors
    places = {
        operand: staged.addresses[block] if task.staged else _arena_offset(program, block)
        for operand, block in task.operands.items()
    }
    first: dict[str, str] = {}
    for operand, value in given.items():
        first.setdefault(value, operand)
    labels = {
        operand: value if places[operand] == places[first[value]] else f"{value}.{operand}"
        for operand, value in given.items()
    }
    names = unique_identifiers(list(dict.fromkeys(labels.values())), prefix)
    memory = "L1" if task.staged else "AT"
    pointers = [
        Pointer(names[labels[operand]], C_TYPES[program.graph.value(value).dtype], places[operand], memory)
        for operand, value in given.items()
    ]
    return list(dict.fromkeys(pointers)), {operand: names[label] for operand, label in labels.items()}


def _arena_offset(program: PlannedProgram, block: Block) -> int:
    return program.offsets[block.tensor] + block.part.offset


def _moves(program: PlannedProgram, commands: Sequence[Command]) -> list[Move]:
    return [_move(program, command) for command in commands]


def _move(program: PlannedProgram, command: Command) -> Move:
    if not isinstance(command, Transfer):
        return Move("stores" if isinstance(command, WaitForStores) else "fetches")
    part = command.block.part
    return Move(
        "fetch" if command.inward else "store",
        slot=None if command.due is None else command.due % AHEAD,
        l1=command.address,
        l2=_arena_offset(program, command.block),
        bytes=part.count,
        line=part.line if part.lines > 1 else 0,
        stride=part.stride,
        tensor=comment_text(command.block.tensor),
    )
