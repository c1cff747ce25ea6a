"""Fixed addresses for buffers: the smallest arena in which no two buffers that are live together share bytes.

A transient buffer is a rectangle, lifetime by bytes, whose place in time is given and whose place in memory
is free (dynamic storage allocation, NP-hard). Several greedy orders are tried; when none reaches the lower
bound, the largest number of bytes live at one step, a local search over orders and then CP-SAT improve on
the best of them. Nothing depends on the clock or on chance: both have a fixed seed and a fixed amount of
work, and the solver runs on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from random import Random

from odl.errors import InputError
from odl.graph.ir import Purpose
from odl.plan.buffers import Buffer, MemoryPlan, Placement
from odl.plan.report import budget_message

#: What CP-SAT may spend on one part of a schedule: deterministic time, of which 0.1 is one to two seconds.
SOLVER_TIME = 0.2
#: What the local search before it may spend: trials, rectangles placed, and how far one moves in the order.
_TRIALS = 400
_PLACEMENTS = 24_000
_REACH = 10
_SEED = 1

_PURPOSE_ORDER = {purpose: index for index, purpose in enumerate(Purpose)}


def plan_memory(
    buffers: Iterable[Buffer], capacities: Mapping[str, int | None], *, solver_time: float = SOLVER_TIME
) -> dict[str, MemoryPlan]:
    """Give every buffer an address in its memory; one plan for each memory in `capacities`, in that order.

    The persistent region comes first, the transient one after it. `capacities` has the bytes of each memory,
    None for no limit. `solver_time` 0 leaves the greedy packing as it is. InputError when a plan is larger
    than its memory or a buffer's memory is not in `capacities`; ValueError when two buffers have one name.
    """
    by_memory: dict[str, list[Buffer]] = {memory: [] for memory in capacities}
    names: set[str] = set()
    for buffer in buffers:
        if buffer.name in names:
            raise ValueError(f"two buffers are named '{buffer.name}'")
        names.add(buffer.name)
        if buffer.memory not in by_memory:
            known = ", ".join(capacities) or "none"
            raise InputError(
                f"buffer '{buffer.name}' is meant for memory '{buffer.memory}', which this target does not "
                f"have (it has: {known}); choose another target"
            )
        by_memory[buffer.memory].append(buffer)
    return {
        memory: _plan_one(memory, members, capacities[memory], solver_time)
        for memory, members in by_memory.items()
    }


def _plan_one(memory: str, buffers: Sequence[Buffer], capacity: int | None, solver_time: float) -> MemoryPlan:
    transient = [buffer for buffer in buffers if not buffer.persistent]
    persistent, persistent_end = _pack_persistent([buffer for buffer in buffers if buffer.persistent])
    base = _round_up(persistent_end, max((buffer.alignment for buffer in transient), default=1))
    unit = min((buffer.alignment for buffer in transient), default=1)
    rectangles = [_Rectangle.of(buffer, unit) for buffer in transient]
    peak_step, live = _peak(rectangles)
    # The capacity does not enter: what a refusal says would fit is then what a larger memory gets.
    packed = _pack(rectangles, live, solver_time)
    plan = MemoryPlan(
        memory=memory,
        capacity=capacity,
        arena_bytes=base + packed.height * unit,
        persistent_bytes=base,
        placements=tuple(persistent)
        + tuple(
            Placement(buffer, base + packed.offsets[item] * unit)
            for buffer, item in zip(transient, rectangles, strict=True)
        ),
        peak_step=peak_step,
        lower_bound_bytes=base + packed.lower_bound * unit,
    )
    if capacity is not None and plan.arena_bytes > capacity:
        raise InputError(budget_message(plan))
    return plan


def _pack_persistent(buffers: Sequence[Buffer]) -> tuple[list[Placement], int]:
    """One after the other: strictest alignment first, then by purpose, then as given; also their end."""
    placements: list[Placement] = []
    end = 0
    for buffer in sorted(buffers, key=lambda item: (-item.alignment, _PURPOSE_ORDER[item.purpose])):
        offset = _round_up(end, buffer.alignment)
        placements.append(Placement(buffer, offset))
        end = offset + buffer.size_bytes
    return placements, _round_up(end, max((buffer.alignment for buffer in buffers), default=1))


def _round_up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


# ------------------------------------------------------------------------------------------------- rectangles
@dataclass(frozen=True)
class _Rectangle:
    """A transient buffer in units of the smallest alignment; `stride` is its own alignment in these units."""

    name: str
    first: int
    last: int
    size: int
    stride: int

    @staticmethod
    def of(buffer: Buffer, unit: int) -> _Rectangle:
        size = -(-buffer.size_bytes // unit)
        return _Rectangle(buffer.name, buffer.first_step, buffer.last_step, size, buffer.alignment // unit)

    @property
    def lifetime(self) -> int:
        return self.last - self.first + 1

    def meets(self, other: _Rectangle) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class _Packing:
    """Offset of each rectangle, their common height, and a height that no packing is below."""

    offsets: Mapping[_Rectangle, int]
    height: int
    lower_bound: int


def _peak(rectangles: Sequence[_Rectangle]) -> tuple[int, int]:
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


def _pack(rectangles: Sequence[_Rectangle], live: int, solver_time: float) -> _Packing:
    """Pack the parts of the schedule that share no step apart from each other; the highest decides the arena.

    `live` is the most units live at one step: the height below which nothing has to be squeezed.
    """
    greedy = [(part, _pack_greedy(part, live)) for part in _parts(rectangles)]
    offsets: dict[_Rectangle, int] = {}
    height = lower_bound = live
    # The highest first: what it cannot go below, the others need not go below either.
    for part, packed in sorted(greedy, key=lambda item: -_height(item[1])):
        best = packed
        if _height(packed) > height and solver_time > 0:
            best = _pack_reordered(part, packed, height)
            if _height(best) > height:
                best, bound = _pack_exactly(part, best, height, solver_time)
                lower_bound = max(lower_bound, bound)
        height = max(height, _height(best))
        offsets.update(best)
    return _Packing(offsets, height, lower_bound)


def _parts(rectangles: Sequence[_Rectangle]) -> list[list[_Rectangle]]:
    """Split where no rectangle crosses from one step to the next."""
    parts: list[list[_Rectangle]] = []
    end = None
    for item in sorted(rectangles, key=lambda item: (item.first, item.last, item.name)):
        if end is None or item.first > end:
            parts.append([])
            end = item.last
        parts[-1].append(item)
        end = max(end, item.last)
    return parts


def _height(offsets: Mapping[_Rectangle, int]) -> int:
    return max((offset + item.size for item, offset in offsets.items()), default=0)


# ----------------------------------------------------------------------------------------------------- greedy
_ORDERS: tuple[Callable[[_Rectangle], tuple[int, ...]], ...] = (
    lambda item: (-item.lifetime, -item.size),
    lambda item: (-item.size, -item.lifetime),
    lambda item: (-item.size * item.lifetime,),
    lambda item: (item.first, -item.size),
    lambda item: (-item.last, -item.size),
    lambda item: (item.first, -item.last),
    lambda item: (-item.last, item.first),
)


def _pack_greedy(rectangles: Sequence[_Rectangle], enough: int) -> dict[_Rectangle, int]:
    """The lowest packing of several orders, each with the first and with the tightest gap that fits."""
    best = _pack_in_order(rectangles, tightest=False)
    for order in _ORDERS:
        ordered = sorted(rectangles, key=order)
        for tightest in (False, True):
            if _height(best) <= enough:
                return best
            best = min(best, _pack_in_order(ordered, tightest), key=_height)
    return best


def _pack_reordered(
    rectangles: Sequence[_Rectangle], start: dict[_Rectangle, int], enough: int
) -> dict[_Rectangle, int]:
    """Local search from the best order: move a few rectangles to places nearby, keep what is not worse."""
    best = start
    current = min((sorted(rectangles, key=order) for order in _ORDERS), key=_height_in_order)
    height = _height_in_order(current)
    random = Random(_SEED)
    for trial in range(min(_TRIALS, _PLACEMENTS // len(rectangles))):
        if _height(best) <= enough:
            break
        changed = list(current)
        for _ in range(random.randint(1, 3)):
            index = random.randrange(len(changed))
            moved = changed.pop(index)
            changed.insert(min(len(changed), max(0, index + random.randint(-_REACH, _REACH))), moved)
        packed = _pack_in_order(changed, tightest=trial % 2 == 1)
        if _height(packed) <= height:
            current, height = changed, _height(packed)
        best = min(best, packed, key=_height)
    return best


def _height_in_order(ordered: Sequence[_Rectangle]) -> int:
    return min(_height(_pack_in_order(ordered, tightest)) for tightest in (False, True))


def _pack_in_order(ordered: Sequence[_Rectangle], tightest: bool) -> dict[_Rectangle, int]:
    """Give each rectangle in turn a gap between the ones before that it meets, or the place above them."""
    offsets: dict[_Rectangle, int] = {}
    placed: list[tuple[int, int, _Rectangle]] = []
    for item in ordered:
        chosen, slack, end = None, 0, 0
        for offset, top, other in placed:
            if not item.meets(other):
                continue
            start = _round_up(end, item.stride)
            room = offset - start - item.size
            if room >= 0 and (chosen is None or (tightest and room < slack)):
                chosen, slack = start, room
                if not tightest:
                    break
            end = max(end, top)
        offset = _round_up(end, item.stride) if chosen is None else chosen
        offsets[item] = offset
        placed.append((offset, offset + item.size, item))
        placed.sort(key=lambda entry: entry[:2])
    return offsets


# ------------------------------------------------------------------------------------------------------ exact
def _pack_exactly(
    rectangles: Sequence[_Rectangle], hint: Mapping[_Rectangle, int], floor: int, solver_time: float
) -> tuple[dict[_Rectangle, int], int]:
    """CP-SAT from the greedy packing on, down to `floor` at most; also the height it proved nothing is below.

    Two rectangles may not overlap in the plane of steps and units (`AddNoOverlap2D`); the steps are fixed.
    """
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    ceiling = _height(hint)
    height = model.new_int_var(floor, ceiling, "height")
    places, in_time, in_memory = {}, [], []
    for item in rectangles:
        if item.size == 0:
            continue
        place = model.new_int_var(0, (ceiling - item.size) // item.stride, item.name)
        model.add(place * item.stride + item.size <= height)
        model.add_hint(place, hint[item] // item.stride)
        in_time.append(model.new_fixed_size_interval_var(item.first, item.lifetime, f"{item.name} steps"))
        in_memory.append(
            model.new_fixed_size_interval_var(place * item.stride, item.size, f"{item.name} units")
        )
        places[item] = place
    model.add_no_overlap_2d(in_time, in_memory)
    model.add_hint(height, ceiling)
    model.minimize(height)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = _SEED
    solver.parameters.max_deterministic_time = solver_time
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return dict(hint), floor
    found = {item: solver.value(place) * item.stride for item, place in places.items()}
    found = _settle({item: found.get(item, 0) for item in rectangles})
    bound = round(solver.best_objective_bound)
    return (found if _height(found) < ceiling else dict(hint)), bound


def _settle(offsets: Mapping[_Rectangle, int]) -> dict[_Rectangle, int]:
    """Move every rectangle down as far as it goes, lowest first: equal solutions become equal addresses."""
    ordered = sorted(offsets, key=lambda item: (offsets[item], item.first, item.name))
    settled: dict[_Rectangle, int] = {}
    for item in ordered:
        below = (settled[other] + other.size for other in settled if item.meets(other))
        settled[item] = _round_up(max(chain(below, (0,))), item.stride)
    return settled
