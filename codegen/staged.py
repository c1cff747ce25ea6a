"""Template context of programs that run over two memories: tasks on blocks in L1, and the transfers around them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from odl.codegen.kernels import KernelSet
from odl.codegen.layers import containers, layer_base
from odl.codegen.names import comment_text, unique_identifiers
from odl.codegen.programs import ShapeSet, call_arguments, describe, loss_pointer, updates
from odl.codegen.texts import C_TYPES, CallText, LayerText, Move, Pointer, ProgramText, TaskText
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
    numbers, inner = node_numbers(planned), containers(planned.graph)
    layers = []
    tasks = enumerate(_tasks(planned))
    for node, group in itertools.groupby(tasks, key=lambda item: item[1].task.node):
        given = list(group)
        texts = [
            _task_text(number, staged, _part(place, len(given), staged), planned, kernels, shapes)
            for place, (number, staged) in enumerate(given, 1)
        ]
        if given[-1][1].task.last_of_node:
            texts[-1] = replace(texts[-1], node=numbers[node])
        item = planned.nodes[node]
        layers.append(LayerText(layer_base(planned.graph, item.node, inner), describe(item, planned), texts))
    return ProgramText(index, program, layers, _moves(planned, planned.staging.finish), updates(planned))


def _task_text(
    number: int,
    staged: StagedTask,
    comment: str,
    program: PlannedProgram,
    kernels: KernelSet,
    shapes: ShapeSet,
) -> TaskText:
    task = staged.task
    pointers = _operands(program, staged, kernels.prefix)
    call = CallText(
        kernels.name(task.call),
        call_arguments(task.call, kernels, shapes, pointers),
        pointers,
        task.guarded,
        loss_pointer(program.nodes[task.node], program, pointers),
    )
    return TaskText(
        call,
        list(dict.fromkeys(pointers.values())),
        comment,
        _moves(program, staged.before),
        _moves(program, staged.beside),
        _moves(program, staged.publish),
        slot=number % AHEAD,
        awaited=(number + 1) % AHEAD if staged.await_next else None,
        wait_for_stores=staged.wait_for_stores,
    )


def _part(place: int, parts: int, staged: StagedTask) -> str:
    """Which part of its node a task is, and where it works, for a comment."""
    found = [f"part {place} of {parts}"] if parts > 1 else []
    return ", ".join(found if staged.task.staged else [*found, "in L2, too large for L1"])


def node_numbers(program: PlannedProgram) -> dict[int, int]:
    """Position of each node with a kernel among those that have one, which is its number in manifest.json."""
    called = [index for index, item in enumerate(program.nodes) if item.call is not None]
    return {index: number for number, index in enumerate(called)}


def _tasks(program: PlannedProgram) -> Sequence[StagedTask]:
    assert program.staging is not None
    return program.staging.tasks


def _operands(program: PlannedProgram, staged: StagedTask, prefix: str) -> dict[str, Pointer]:
    """The pointer of each operand.

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
    return {
        operand: Pointer(
            names[labels[operand]], C_TYPES[program.graph.value(value).dtype], places[operand], memory
        )
        for operand, value in given.items()
    }


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
