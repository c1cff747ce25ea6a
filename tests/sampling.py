"""Parameters with too many combinations for `make test`: there each two values meet, in `make test-long` all do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from math import prod
from random import Random
from typing import Any

import pytest


def every_pair(**values: Sequence[Any]) -> pytest.MarkDecorator:
    """Parametrises a test over the product of `values`. What is not needed for each two values to meet is `long`."""
    chosen = covering(list(values.values()))
    return pytest.mark.parametrize(
        tuple(values),
        [
            pytest.param(
                *values_of(places, list(values.values())), marks=() if places in chosen else pytest.mark.long
            )
            for places in product(*(range(len(several)) for several in values.values()))
        ],
    )


def values_of(places: Sequence[int], values: Sequence[Sequence[Any]]) -> Iterator[Any]:
    return (several[place] for place, several in zip(places, values, strict=True))


def covering(values: Sequence[Sequence[Any]]) -> set[tuple[int, ...]]:
    """Few combinations, as places in `values`, in which each two values of different parameters meet: the fewest that
    the greedy choice finds in some orders."""
    sizes = sorted(map(len, values))
    found: list[set[tuple[int, ...]]] = []
    for seed in range(40):
        every = list(product(*(range(len(several)) for several in values)))
        Random(seed).shuffle(every)
        found.append(_greedy(every))
        if len(found[-1]) == prod(sizes[-2:]):  # there can be no fewer
            break
    return min(found, key=len)


def _greedy(every: Sequence[tuple[int, ...]]) -> set[tuple[int, ...]]:
    missing = {pair for combination in every for pair in pairs(combination)}
    chosen = set()
    while missing:
        best = max(every, key=lambda combination: len(missing.intersection(pairs(combination))))
        chosen.add(best)
        missing.difference_update(pairs(best))
    return chosen


def pairs(combination: Sequence[int]) -> set[tuple[tuple[int, int], ...]]:
    return set(combinations(enumerate(combination), 2))
