"""Fixed addresses for buffers: the smallest arena in which no two buffers that are live together share bytes.

A transient buffer is a rectangle, lifetime by bytes, whose place in time is given and whose place in memory
is free (dynamic storage allocation, NP-hard). Several greedy orders are tried; when none reaches the lower
bound, the largest number of bytes live at one step, a local search over orders and then CP-SAT improve on
the best of them. Nothing depends on the clock or on chance: both have a fixed seed and a fixed amount of
work, and the solver runs on one thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odl.errors import InputError
from odl.graph.ir import Purpose
from odl.plan.buffers import ALIGNMENT, Buffer, MemoryPlan, Placement, round_up
from odl.plan.exact import pack_exactly
from odl.plan.greedy import pack_greedy, pack_reordered
from odl.plan.rectangles import Rectangle, height_of
from odl.plan.report import budget_message

#: What CP-SAT may spend on one part of a schedule: deterministic time, of which 0.1 is one to two seconds. On made-up
#: hard parts 0.05 ends 2.7 % above the lower bound, 0.2 ends 2.3 % and 0.8 ends 1.0 % above it (docs/tuning.md).
SOLVER_TIME = 0.2

_PURPOSE_ORDER = {purpose: index for index, purpose in enumerate(Purpose)}


def plan_memory(
    buffers: Sequence[Buffer], memory: str, capacity: int | None, *, solver_time: float = SOLVER_TIME
) -> MemoryPlan:
    """Give every buffer an address in the memory of that name; `capacity` has its bytes, None for no limit.

    The persistent region comes first, the transient one after it. `solver_time` 0 leaves the greedy packing as it is.
    InputError when the plan is larger than the memory; ValueError when two buffers have one name.
    """
    name, times = Counter(buffer.name for buffer in buffers).most_common(1)[0] if buffers else ("", 0)
    if times > 1:
        raise ValueError(f"two buffers are named '{name}'")
    transient = [buffer for buffer in buffers if not buffer.persistent]
    persistent, base = _pack_persistent([buffer for buffer in buffers if buffer.persistent])
    rectangles = [Rectangle.of(buffer) for buffer in transient]
    peak_step, live = _peak(rectangles)
    # The capacity does not enter: what a refusal says would fit is then what a larger memory gets.
    packed = _pack(rectangles, live, solver_time)
    placed = [
        Placement(buffer, base + packed.offsets[item] * ALIGNMENT)
        for buffer, item in zip(transient, rectangles, strict=True)
    ]
    plan = MemoryPlan(
        memory=memory,
        capacity=capacity,
        arena_bytes=base + packed.height * ALIGNMENT,
        persistent_bytes=base,
        placements=(*persistent, *placed),
        peak_step=peak_step,
        lower_bound_bytes=base + packed.lower_bound * ALIGNMENT,
    )
    if capacity is not None and plan.arena_bytes > capacity:
        raise InputError(budget_message(plan))
    return plan


def _pack_persistent(buffers: Sequence[Buffer]) -> tuple[list[Placement], int]:
    """One after the other: by purpose, then as given; also their end."""
    placements: list[Placement] = []
    end = 0
    for buffer in sorted(buffers, key=lambda item: _PURPOSE_ORDER[item.purpose]):
        placements.append(Placement(buffer, end))
        end = round_up(end + buffer.size_bytes)
    return placements, end


# ------------------------------------------------------------------------------------------------- rectangles
@dataclass(frozen=True)
class _Packing:
    """Offset of each rectangle, their common height, and a height that no packing is below."""

    offsets: Mapping[Rectangle, int]
    height: int
    lower_bound: int


def _peak(rectangles: Sequence[Rectangle]) -> tuple[int, int]:
    """The first step with the most live units, and how many they are."""
    changes: dict[int, int] = {}
    for item in rectangles:
        changes[item.first] = changes.get(item.first, 0) + item.size
        changes[item.last + 1] = changes.get(item.last + 1, 0) - item.size
    best_step, best, live = min(changes, default=0), 0, 0
    for step in sorted(changes):
        live += changes[step]
        if live > best:
            best_step, best = step, live
    return best_step, best


def _pack(rectangles: Sequence[Rectangle], live: int, solver_time: float) -> _Packing:
    """Pack the parts of the schedule that share no step apart from each other; the highest decides the arena.

    `live` is the most units live at one step: the height below which nothing has to be squeezed.
    """
    greedy = [(part, pack_greedy(part, live)) for part in _parts(rectangles)]
    offsets: dict[Rectangle, int] = {}
    height = lower_bound = live
    # The highest first: what it cannot go below, the others need not go below either.
    for part, packed in sorted(greedy, key=lambda item: -height_of(item[1])):
        best = packed
        if height_of(packed) > height and solver_time > 0:
            best = pack_reordered(part, packed, height)
            if height_of(best) > height:
                best, bound = pack_exactly(part, best, height, solver_time)
                lower_bound = max(lower_bound, bound)
        height = max(height, height_of(best))
        offsets.update(best)
    return _Packing(offsets, height, lower_bound)


def _parts(rectangles: Sequence[Rectangle]) -> list[list[Rectangle]]:
    """Split where no rectangle crosses from one step to the next."""
    parts: list[list[Rectangle]] = []
    end = None
    for item in sorted(rectangles, key=lambda item: (item.first, item.last, item.name)):
        if end is None or item.first > end:
            parts.append([])
            end = item.last
        parts[-1].append(item)
        end = max(end, item.last)
    return parts
