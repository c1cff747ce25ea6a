"""What `make test` leaves to `make test-long` never leaves out two values that do not meet elsewhere."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from tests.sampling import covering, every_pair


@given(st.lists(st.integers(1, 4), min_size=2, max_size=4))
def test_each_two_values_meet(sizes: list[int]) -> None:
    chosen = covering([range(size) for size in sizes])
    for (i, m), (j, n) in combinations(enumerate(sizes), 2):
        assert {(places[i], places[j]) for places in chosen} == {(a, b) for a in range(m) for b in range(n)}


def test_every_combination_is_there_and_the_rest_is_long() -> None:
    (names, cases), marked = every_pair(a="xy", b="uv", c="pq").args, 0
    assert names == ("a", "b", "c") and len({case.values for case in cases}) == len(cases) == 8
    marked = sum(any(mark.name == "long" for mark in case.marks) for case in cases)
    assert marked == 4
