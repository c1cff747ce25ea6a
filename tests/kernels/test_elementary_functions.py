"""exp and log as the kernels compute them: error, ends of the range, overflow flags."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from tests.kernels.kernel_library import INF


def call_math(library: ctypes.CDLL, name: str, x: Any) -> tuple[Any, Any]:
    x = np.ascontiguousarray(x, dtype=np.float32)
    y, flags = np.empty_like(x), np.empty(x.size, np.uint8)
    getattr(library, name)(
        *(ctypes.c_void_p(item.ctypes.data) for item in (x, y, flags)), ctypes.c_uint32(x.size)
    )
    return y.astype(np.float64), flags


@pytest.mark.parametrize("name", ["expf", "logf"])
def test_elementary_functions(libraries: list[ctypes.CDLL], name: str) -> None:
    """Relative error and flags over floats spread evenly among all bit patterns."""
    bits = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32)
    special = [
        0.0,
        -0.0,
        1.0,
        88.72283,
        88.722839,
        88.72284,
        89.0,
        89.1,
        -87.33655,
        -103.97,
        -103.98,
        -104.0,
        -104.1,
    ]
    x = np.concatenate([bits.view(np.float32), np.float32([*special, np.nextafter(np.float32(1), 0)])])
    x = x[np.isfinite(x)] if name == "expf" else x[np.isfinite(x) & (x > 0)]
    y, flags = call_math(libraries[0], f"test_{name}", x)
    with np.errstate(over="ignore", under="ignore"):
        truth = (np.exp if name == "expf" else np.log)(x.astype(np.float64))
    overflow = truth > np.finfo(np.float32).max * (1 + 2.0**-25)
    assert np.isposinf(y[overflow]).all()
    assert (flags == overflow).all()
    y, truth = y[~overflow], truth[~overflow]
    smallest = 2.0**-126 if name == "expf" else 0.0
    normal = np.abs(truth) > smallest
    assert (np.abs(y - truth)[normal] <= 1e-7 * np.abs(truth)[normal]).all()
    assert (np.abs(y - truth)[~normal] <= 2.0**-149).all()


def test_elementary_functions_at_the_ends(libraries: list[ctypes.CDLL]) -> None:
    y, flags = call_math(libraries[0], "test_expf", [INF, -INF, np.nan, 0.0])
    np.testing.assert_array_equal(y, [INF, 0.0, np.nan, 1.0])
    assert not flags.any()
    y, flags = call_math(libraries[0], "test_logf", [INF, 0.0, -0.0, -1.0, -INF, np.nan, 1.0])
    np.testing.assert_array_equal(y, [INF, -INF, -INF, np.nan, np.nan, np.nan, 0.0])
    assert flags.tolist() == [0, 1, 1, 1, 1, 0, 0]
