"""Cases: the distinct kernel calls of a planned network, each with the operands that its plan gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from odl.codegen.kernel_case import Placed, render_case
from odl.graph.ir import DType
from odl.kernels.call import KernelCall, Variant
from odl.plan.buffers import round_up
from odl.plan.program import PlannedProgram, Schedule
from odl.plan.tasks import Task
from odl.project.programs import APPLY, STEP
from odl.targets.cv32e40p.description import Cluster
from odl.tune.job import Field, Job
from odl.tune.key import case_key, variant_key
from odl.tune.texts import headers_digest

#: Bytes before, between and behind operands that no kernel may touch.
GUARD_BYTES = 16


@dataclass(frozen=True)
class Operand:
    """Memory that an operand points to; `same_as` names an earlier operand that it shares its place with."""

    dtype: DType
    count: int
    written: bool
    same_as: str | None = None

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.count * self.dtype.bytes


@dataclass(frozen=True)
class Case:
    """One kernel call to measure. `operands`: those that the call is given, by name; `calls` counts the calls of a
    training step that are just this one."""

    key: str
    call: KernelCall
    operands: Mapping[str, Operand]
    cluster: Cluster
    calls: int = 1

    def layout(self) -> tuple[dict[str, int], int]:
        """Byte offset of each operand, and the bytes of all.

        One lies behind the other, at the next word, as the planner places blocks, with a guard zone around each.
        """
        offsets: dict[str, int] = {}
        end = GUARD_BYTES
        for name, operand in self.operands.items():
            if operand.same_as is not None:
                offsets[name] = offsets[operand.same_as]
            else:
                offsets[name] = end
                end += round_up(operand.bytes) + GUARD_BYTES
        return offsets, end


def collect_cases(schedule: Schedule, cluster: Cluster) -> list[Case]:
    """Every distinct call that has variants and works in L1, in the order of first use.

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


def _operands(program: PlannedProgram, task: Task) -> dict[str, Operand]:
    found: dict[str, Operand] = {}
    for name, value in task.call.tensors.items():
        block = task.operands[name]
        dtype = program.graph.value(value).dtype
        place = task.takes_over.get(block, block)
        same_as = next((other for other in found if task.operands[other] == place), None)
        found[name] = Operand(dtype, block.part.count // dtype.bytes, block in task.writes, same_as)
    return found


def make_job(case: Case, variants: Sequence[Variant], max_cycles: int) -> Job:
    """The job that measures these variants of a case; the case's first variant is always among them."""
    reference = case.call.variants[0]
    ordered = [reference, *(variant for variant in variants if variant != reference)]
    offsets, total = case.layout()
    given = {name: Placed(operand.dtype, offsets[name]) for name, operand in case.operands.items()}
    sources = render_case([case.call.with_variant(variant) for variant in ordered], given, total)
    fields = tuple(
        Field(
            name,
            {"f16": "<f2", "f32": "<f4", "u8": "u1"}[operand.dtype.value],
            operand.count,
            offsets[name],
            operand.written,
        )
        for name, operand in case.operands.items()
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
