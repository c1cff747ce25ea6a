"""Packs rectangles one after another: in several orders, then in orders that a local search finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from odl.plan.rectangles import Rectangle, height_of

#: What the local search may spend: trials, rectangles placed, and how far one moves in the order. On made-up hard parts
#: the orders alone end 4.6 % above the lower bound, 100 trials 3.7 %, 400 trials 3.5 % (docs/tuning.md).
_TRIALS = 400
_PLACEMENTS = 24_000
_REACH = 10
_SEED = 1

_ORDERS: tuple[Callable[[Rectangle], tuple[int, ...]], ...] = (
    lambda item: (-item.lifetime, -item.size),
    lambda item: (-item.size, -item.lifetime),
    lambda item: (-item.size * item.lifetime,),
    lambda item: (item.first, -item.size),
    lambda item: (-item.last, -item.size),
    lambda item: (item.first, -item.last),
    lambda item: (-item.last, item.first),
)


def pack_greedy(rectangles: Sequence[Rectangle], enough: int) -> dict[Rectangle, int]:
    """The lowest packing of several orders, each with the first and with the tightest gap that fits."""
    best = _pack_in_order(rectangles, tightest=False)
    for order in _ORDERS:
        ordered = sorted(rectangles, key=order)
        for tightest in (False, True):
            if height_of(best) <= enough:
                return best
            best = min(best, _pack_in_order(ordered, tightest), key=height_of)
    return best


def pack_reordered(
    rectangles: Sequence[Rectangle], start: dict[Rectangle, int], enough: int
) -> dict[Rectangle, int]:
    """Local search from the best order: move a few rectangles to places nearby, keep what is not worse."""
    best = start
    current = min((sorted(rectangles, key=order) for order in _ORDERS), key=_height_in_order)
    height = _height_in_order(current)
    random = Random(_SEED)
    for trial in range(min(_TRIALS, _PLACEMENTS // len(rectangles))):
        if height_of(best) <= enough:
            break
        changed = list(current)
        for _ in range(random.randint(1, 3)):
            index = random.randrange(len(changed))
            moved = changed.pop(index)
            changed.insert(min(len(changed), max(0, index + random.randint(-_REACH, _REACH))), moved)
        packed = _pack_in_order(changed, tightest=trial % 2 == 1)
        if height_of(packed) <= height:
            current, height = changed, height_of(packed)
        best = min(best, packed, key=height_of)
    return best


def _height_in_order(ordered: Sequence[Rectangle]) -> int:
    return min(height_of(_pack_in_order(ordered, tightest)) for tightest in (False, True))


def _pack_in_order(ordered: Sequence[Rectangle], tightest: bool) -> dict[Rectangle, int]:
    """Give each rectangle in turn a gap between the ones before that it meets, or the place above them."""
    offsets: dict[Rectangle, int] = {}
    placed: list[tuple[int, int, Rectangle]] = []
    for item in ordered:
        chosen, slack, end = None, 0, 0
        for offset, top, other in placed:
            if not item.meets(other):
                continue
            room = offset - end - item.size
            if room >= 0 and (chosen is None or (tightest and room < slack)):
                chosen, slack = end, room
                if not tightest:
                    break
            end = max(end, top)
        offset = end if chosen is None else chosen
        offsets[item] = offset
        placed.append((offset, offset + item.size, item))
        placed.sort(key=lambda entry: entry[:2])
    return offsets
