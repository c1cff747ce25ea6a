"""Memory plans for people: table, addresses, the budget's message."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from odl.errors import either, option
from odl.graph.ir import Purpose
from odl.plan.buffers import UNUSED, MemoryPlan
from odl.plan.program import Schedule

_CONTRIBUTORS = 3
_PLAIN_SGD = either("odl.SGD without momentum", "--optimizer sgd without momentum")


def memory_table(plans: Mapping[str, MemoryPlan]) -> Table:
    """Bytes by purpose at each memory's peak, one column a memory, for rich's console."""
    table = Table(title="Memory at the peak, in bytes", show_footer=False)
    table.add_column("purpose")
    for memory in plans:
        table.add_column(memory, justify="right")
    shares = {memory: plan.by_purpose for memory, plan in plans.items()}
    for key in (*(str(purpose) for purpose in Purpose), UNUSED):
        if any(share[key] for share in shares.values()):
            table.add_row(key, *(f"{share[key]:,}" for share in shares.values()))
    table.add_section()
    table.add_row("peak", *(f"{plan.peak_bytes:,}" for plan in plans.values()), style="bold")
    table.add_row("kept between calls", *(f"{plan.persistent_bytes:,}" for plan in plans.values()))
    if any(plan.capacity is not None for plan in plans.values()):
        capacities = ("-" if plan.capacity is None else f"{plan.capacity:,}" for plan in plans.values())
        table.add_row("capacity", *capacities)
    return table


def schedule_text(schedule: Schedule) -> str:
    """Every value of the arena with its address, one a line: those that outlive a step, then each program's."""
    lines = ["persistent"]
    for value, offset in schedule.persistent:
        lines.append(f"  {offset:>8} {value.size_bytes:>8} {value.name} {value.dtype} {value.layout}")
    for program, planned in schedule.programs.items():
        lines.append(program.name)
        for name, offset in sorted(planned.offsets.items(), key=lambda item: (item[1], item[0])):
            value = planned.graph.value(name)
            if not value.persistent:
                lines.append(f"  {offset:>8} {value.size_bytes:>8} {name}")
    return "\n".join(lines) + "\n"


# ----------------------------------------------------------------------------------------------------- budget
def budget_message(plan: MemoryPlan) -> str:
    """One line on a plan that is larger than its memory: where, by how much, what is largest, what helps."""
    capacity = plan.capacity or 0
    excess = plan.arena_bytes - capacity
    largest = ", ".join(
        f"'{buffer.name}' ({buffer.purpose}, {buffer.size_bytes:,})"
        for buffer in plan.live_at_peak[:_CONTRIBUTORS]
    )
    return (
        f"memory '{plan.memory}' of {capacity:,} bytes is {excess:,} bytes too small: {plan.arena_bytes:,} "
        f"are needed at step {plan.peak_step}, {plan.persistent_bytes:,} of them kept between calls; "
        f"largest at that step: {largest}; to fit: {_advice(plan, excess)}"
    )


def _advice(plan: MemoryPlan, excess: int) -> str:
    """What could free the excess, judged by the bytes at the peak, with the number it could free at most."""
    share = plan.by_purpose
    too_large = plan.persistent_bytes > (plan.capacity or 0)
    transient = 0 if too_large else share[Purpose.ACTIVATIONS] + share[Purpose.GRADIENTS]
    remedies = (
        (transient, f"train fewer layers ({option('update', 'last:N', 'bias')})"),
        (share[Purpose.ACTIVATIONS] + share[Purpose.INPUTS], "use a smaller batch"),
        (share[Purpose.OPTIMIZER], f"keep no optimizer state ({_PLAIN_SGD})"),
        (share[Purpose.STATISTICS], f"fold batch norm ({option('bn', 'fold')})"),
    )
    fitting = [f"{text}: frees up to {freed:,}" for freed, text in remedies if freed >= excess]
    if not fitting:
        fitting = [
            "no single option frees enough: combine fewer trained layers, a smaller batch and "
            f"{option('dtype', 'fp16')}"
        ]
    budget = option(plan.memory if plan.memory in ("l1", "l2") else "memory", plan.arena_bytes)
    return "; ".join((*fitting, f"or a memory of {plan.arena_bytes:,} bytes ({budget})"))
