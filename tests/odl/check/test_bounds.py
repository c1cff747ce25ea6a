"""Bounds, rows and reports: NaN never passes, more terms never tighten a bound, the worst row is the worst."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odl.check.bounds import CEILING, gradient_bound, relative_error, within
from odl.check.report import Report, Row
from odl.precision import Precision

NAN, INFINITY = math.nan, math.inf
FINITE = st.floats(-1e6, 1e6)
LISTS = st.lists(FINITE, min_size=1, max_size=8)


def row(error: float, bound: float, tensor: str = "w") -> Row:
    return Row(tensor, "gradient", error, bound, None, within(error, bound))


@given(st.sampled_from(Precision), st.integers(1, 10**6), st.integers(1, 10**6))
def test_bounds_grow_with_the_sum_and_stop_at_the_ceiling(
    precision: Precision, terms: int, more: int
) -> None:
    bound, larger = gradient_bound(precision, terms), gradient_bound(precision, terms + more)
    assert 0 < bound <= larger <= CEILING[precision]


@given(st.integers(1, 10**6))
def test_bounds_grow_with_coarser_numbers(terms: int) -> None:
    """Single precision is the finest; carried sums never have more room than plain half precision."""
    fp32, mixed, fp16 = (
        gradient_bound(precision, terms) for precision in (Precision.FP32, Precision.MIXED, Precision.FP16)
    )
    assert fp32 < mixed <= fp16


def test_ceilings_are_the_stated_ones() -> None:
    assert CEILING[Precision.FP32] == 1e-5
    assert CEILING[Precision.MIXED] == 2e-2


@pytest.mark.parametrize("error", [NAN, INFINITY])
@pytest.mark.parametrize("bound", [0.0, 1e-5, 1e30])
def test_nan_and_infinity_are_within_nothing(error: float, bound: float) -> None:
    assert not within(error, bound)


def test_nothing_is_within_a_nan_bound() -> None:
    assert not within(0.0, NAN)


@given(LISTS, st.integers(0, 7), st.booleans(), st.floats(0, 1e3))
def test_a_nan_on_either_side_is_an_error_that_is_nan(
    values: list[float], position: int, on_device: bool, floor: float
) -> None:
    spoilt = list(values)
    spoilt[position % len(spoilt)] = NAN
    got, wanted = (spoilt, values) if on_device else (values, spoilt)
    error = relative_error(np.array(got), np.array(wanted), floor)
    assert math.isnan(error)
    assert not within(error, INFINITY)


@given(LISTS, st.integers(0, 7), st.floats(0, 1e3))
def test_an_infinity_on_the_device_never_passes(values: list[float], position: int, floor: float) -> None:
    spoilt = list(values)
    spoilt[position % len(spoilt)] = INFINITY
    assert not within(relative_error(np.array(spoilt), np.array(values), floor), 1e30)
    assert not within(relative_error(np.array(spoilt), np.array(spoilt), floor), 1e30)


@given(LISTS)
def test_equal_tensors_have_no_error(values: list[float]) -> None:
    assert relative_error(np.array(values), np.array(values)) == 0.0


def test_relative_error_is_relative_to_the_wanted_norm() -> None:
    assert relative_error(np.array([3.0, 5.0]), np.array([3.0, 4.0])) == pytest.approx(0.2)
    assert relative_error(np.array([3.0, 5.0]), np.array([3.0, 4.0]), floor=10.0) == pytest.approx(0.1)


@pytest.mark.parametrize("floor", [NAN, INFINITY])
def test_a_floor_that_is_no_number_hides_nothing(floor: float) -> None:
    assert not within(relative_error(np.array([2.0]), np.array([1.0]), floor), INFINITY)


def test_relative_error_of_something_against_nothing_is_infinite() -> None:
    assert relative_error(np.array([1e-30]), np.array([0.0])) == INFINITY


def test_relative_error_of_another_shape_is_infinite() -> None:
    assert relative_error(np.zeros((2, 3)), np.zeros((3, 2))) == INFINITY


def test_relative_error_is_taken_in_float64() -> None:
    """In half precision the norm of these would overflow."""
    big = np.full(1000, 60000, dtype=np.float16)
    assert relative_error(big, big) == 0.0
    assert relative_error(big, big.astype(np.float64) * 1.5) == pytest.approx(1 / 3)


def test_a_report_with_one_nan_is_not_ok_and_names_it() -> None:
    report = Report((row(1e-9, 1e-5, "a"), row(NAN, 1e-5, "b"), row(9e-6, 1e-5, "c")))
    assert not report.ok
    assert report.worst.tensor == "b"


def test_a_failed_row_is_worse_than_one_near_a_bound() -> None:
    """A row whose bound is zero fails by any error, whatever the ratios of the others."""
    report = Report((row(0.99e-5, 1e-5, "near"), row(1e-9, 0.0, "exact")))
    assert report.worst.tensor == "exact"


def test_the_worst_of_sound_rows_is_the_nearest_to_its_bound() -> None:
    report = Report((row(1e-3, 1e-1, "far"), row(9e-6, 1e-5, "near")))
    assert report.ok
    assert report.worst.tensor == "near"


@given(st.lists(st.sampled_from([0.0, 5e-6, 2e-5, NAN, INFINITY]), min_size=1, max_size=6))
def test_a_report_is_ok_only_if_every_row_is_and_its_worst_tells(errors: list[float]) -> None:
    report = Report(tuple(row(error, 1e-5, str(index)) for index, error in enumerate(errors)))
    assert report.ok == all(error <= 1e-5 for error in errors)
    assert report.worst.ok == report.ok


@pytest.mark.parametrize("error", [NAN, INFINITY])
def test_json_of_a_row_stays_json(error: float) -> None:
    text = json.dumps(row(error, 1e-5).as_json(), allow_nan=False)
    assert json.loads(text)["rel_l2"] is None
    assert json.loads(text)["ok"] is False
