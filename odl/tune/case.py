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
from odl.tune.key import case_key, headers_digest, variant_key

#: Bytes before, between and behind operands that no kernel may touch.
GUARD_BYTES = 16
#: What NumPy calls the types of a device's memory.
_NUMPY = {
    DType.F16: "<f2",
    DType.F32: "<f4",
    DType.U8: "u1",
    DType.I8: "i1",
    DType.U32: "<u4",
    DType.I32: "<i4",
}


@dataclass(frozen=True)
class Operand(Placed):
    """An operand's place, its elements, and whether the kernel writes it."""

    count: int
    written: bool


@dataclass(frozen=True)
class Case:
    """One kernel call to measure. `operands`: those that the call is given, by name, in `total_bytes`; `calls` counts the
    calls of a training step that are just this one."""

    key: str
    call: KernelCall
    operands: Mapping[str, Operand]
    total_bytes: int
    cluster: Cluster
    calls: int = 1


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
                cases[key] = Case(key, task.call, *_operands(program, task), cluster, in_step)
    return list(cases.values())


def _operands(program: PlannedProgram, task: Task) -> tuple[dict[str, Operand], int]:
    """The call's operands, and the bytes of all: one lies behind the other, at the next aligned address as the planner
    places blocks, with a guard zone around each, or in the place of the one that it takes over."""
    found: dict[str, Operand] = {}
    end = GUARD_BYTES
    for name, value in task.call.tensors.items():
        block = task.operands[name]
        dtype = program.graph.value(value).dtype
        place = task.takes_over.get(block, block)
        offset = next((given.offset for other, given in found.items() if task.operands[other] == place), end)
        if offset == end:
            end += round_up(block.part.count) + GUARD_BYTES
        found[name] = Operand(dtype, offset, block.part.count // dtype.bytes, block in task.writes)
    return found, end


def make_job(case: Case, variants: Sequence[Variant], max_cycles: int) -> Job:
    """The job that measures these variants of a case; the case's first variant is always among them."""
    reference = case.call.variants[0]
    ordered = [reference, *(variant for variant in variants if variant != reference)]
    calls = [case.call.with_variant(variant) for variant in ordered]
    sources = render_case(calls, case.operands, case.total_bytes)
    fields = tuple(
        Field(name, _NUMPY[operand.dtype], operand.count, operand.offset, operand.written)
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
        case.total_bytes,
        case.cluster,
        headers_digest(),
        max_cycles,
    )
