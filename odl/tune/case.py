"""Cases: the distinct kernel calls of a planned network, each with the operands that its plan gives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from odl.codegen.kernel_case import render_case
from odl.graph.ir import DType
from odl.operators.base import KernelCall, Tensor, Variant
from odl.plan.program import PlannedProgram, Schedule
from odl.plan.tasks import ALIGNMENT, Block, Task
from odl.project.programs import APPLY, STEP
from odl.targets.cv32e40p.description import Cluster
from odl.tune.job import Field, Job
from odl.tune.key import case_key, variant_key
from odl.tune.texts import headers_digest

#: Bytes before, between and behind operands that no kernel may touch.
GUARD_BYTES = 16


@dataclass(frozen=True)
class Operand:
    """Memory that an argument points to; `same_as` is the number of an earlier operand that it shares its place with."""

    dtype: DType
    count: int
    written: bool
    same_as: int | None = None

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.count * self.dtype.bytes


@dataclass(frozen=True)
class Case:
    """One kernel call to measure. `operands`: one for each argument that is an address, None for NULL; `calls` counts
    the calls of a training step that are just this one."""

    key: str
    call: KernelCall
    operands: tuple[Operand | None, ...]
    cluster: Cluster
    calls: int = 1

    def layout(self) -> tuple[tuple[int | None, ...], int]:
        """Byte offset of each operand, and the bytes of all.

        One lies behind the other, at the next word, as the planner places blocks, with a guard zone around each.
        """
        offsets: list[int | None] = []
        end = GUARD_BYTES
        for operand in self.operands:
            if operand is None:
                offsets.append(None)
            elif operand.same_as is not None:
                offsets.append(offsets[operand.same_as])
            else:
                offsets.append(end)
                end += -(-operand.bytes // ALIGNMENT) * ALIGNMENT + GUARD_BYTES
        return tuple(offsets), end


def collect_cases(schedule: Schedule, cluster: Cluster) -> list[Case]:
    """Every distinct call that has variants and works in the small memory, in the order of first use.

    The schedule's calls must be as their operators made them, with no variant chosen.
    """
    cases: dict[str, Case] = {}
    for name, program in schedule.programs.items():
        for staged in program.staging.tasks if program.staging is not None else ():
            task = staged.task
            if not task.staged or len(task.call.variants) < 2:
                continue
            key = case_key(task.call, cluster)
            in_step = int(name in (STEP, APPLY))
            if key in cases:
                cases[key] = replace(cases[key], calls=cases[key].calls + in_step)
            else:
                cases[key] = Case(key, task.call, _operands(program, task), cluster, in_step)
    return list(cases.values())


def _operands(program: PlannedProgram, task: Task) -> tuple[Operand | None, ...]:
    tensors = [argument for argument in task.call.arguments if isinstance(argument, Tensor)]
    blocks = dict(zip((argument.name for argument in tensors), task.operands, strict=True))
    found: list[Operand | None] = []
    places: list[Block | None] = []
    for argument in tensors:
        block = blocks[argument.name]
        if argument.name is None or block is None:
            places.append(None)
            found.append(None)
            continue
        dtype = program.graph.value(argument.name).dtype
        count = block.part.count // dtype.bytes
        place = task.takes_over.get(block, block)
        found.append(Operand(dtype, count, block in task.writes, _index(places, place)))
        places.append(block)
    return tuple(found)


def _index(places: Sequence[Block | None], block: Block) -> int | None:
    return next((index for index, place in enumerate(places) if place == block), None)


def make_job(case: Case, variants: Sequence[Variant], max_cycles: int) -> Job:
    """The job that measures these variants of a case; the case's first variant is always among them."""
    reference = case.call.variants[0]
    ordered = [reference, *(variant for variant in variants if variant != reference)]
    offsets, total = case.layout()
    given = [
        None if operand is None or offset is None else (operand.dtype, offset)
        for operand, offset in zip(case.operands, offsets, strict=True)
    ]
    sources = render_case([case.call.with_variant(variant) for variant in ordered], given, total)
    fields = tuple(
        Field(
            {"f16": "<f2", "f32": "<f4", "u8": "u1"}[operand.dtype.value],
            operand.count,
            offset,
            operand.written,
        )
        for operand, offset in zip(case.operands, offsets, strict=True)
        if operand is not None and offset is not None
    )
    return Job(
        case.key,
        tuple(variant_key(variant) for variant in ordered),
        sources.functions,
        sources.kernels,
        sources.header,
        sources.program,
        fields,
        total,
        case.cluster,
        headers_digest(),
        max_cycles,
    )
