"""Programs: the orders in which they can be called."""

import pytest

from odl.project.programs import APPLY, INFER, REFRESH, SKIP, STEP, Program, chained, orders

LATER = Program("later", "after an update", follows=(APPLY,))
ALONE = Program("alone", "at any time")


@pytest.mark.parametrize(
    ("programs", "expected"),
    [
        ((STEP, INFER), [(STEP, INFER)]),
        ((STEP, APPLY, INFER), [(STEP, APPLY, INFER)]),
        ((STEP, APPLY, SKIP, INFER, REFRESH), [(STEP, APPLY, INFER, REFRESH), (STEP, SKIP, INFER, REFRESH)]),
        ((STEP, APPLY, SKIP, INFER, LATER), [(STEP, APPLY, LATER, INFER), (STEP, SKIP, INFER)]),
        ((STEP, INFER, ALONE), [(STEP, INFER, ALONE)]),
        ((INFER,), [(INFER,)]),
    ],
)
def test_each_ending_of_a_chain_gives_an_order(programs, expected):
    assert orders(programs) == expected


def test_chained_programs_are_those_that_hand_something_on():
    assert chained((STEP, APPLY, SKIP, INFER, REFRESH)) == {STEP, APPLY, SKIP}
    assert chained((STEP, INFER)) == frozenset()
