"""Error bounds: what rounding alone may do to a tensor, from the length of its sums and the storage type.

A sum of n terms rounded at each step is off by at most n u relative to the sum of magnitudes, and by about sqrt(n) u
when roundings are independent (Higham, Accuracy and Stability of Numerical Algorithms, section 3 and 2.8). In mixed
precision the carried sums make n the chunk length.
"""

from __future__ import annotations

import math

import numpy as np

from odl.graph.operator import Array
from odl.precision import Precision

#: Unit roundoff of the storage types.
UNIT_ROUNDOFF = {"f32": 2.0**-24, "f16": 2.0**-11}

#: The largest relative L2 error that any tensor may have, whatever the length of its sums.
CEILING = {Precision.FP32: 1e-5, Precision.MIXED: 2e-2, Precision.FP16: 2e-1}

#: The smallest fp16 number with all its digits (IEEE 754-2019, binary16).
SMALLEST_NORMAL = 2.0**-14

#: By how much of float64's way weights may fall short of it, through updates that rounding swallows.
MOVEMENT = 0.5
#: How far from float64's end of it, in parts of that way; a rounded walk that goes nowhere in particular is at 1 and more.
DIRECTION = 0.75


def gradient_bound(precision: Precision, terms: int) -> float:
    """Relative L2 bound of a tensor whose longest sum has `terms` terms.

    A factor of 16 covers the layers that the rounding passes through and the few units whose activation mask flips.
    """
    if precision is Precision.FP32:
        return CEILING[precision]
    length = min(terms, precision.chunk or terms)
    bound = 16 * math.sqrt(length) * UNIT_ROUNDOFF["f16"]
    return min(bound, CEILING[precision])


def within(error: float, bound: float) -> bool:
    """Whether the error holds the bound; NaN never does."""
    return bool(error <= bound)


def relative_error(got: Array, wanted: Array, floor: float = 0.0) -> float:
    """‖got - wanted‖₂ / max(‖wanted‖₂, floor); zero when both are zero, NaN when anything is NaN or no floor is known."""
    got64, wanted64 = np.asarray(got, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    if got64.shape != wanted64.shape:
        return float("inf")
    with np.errstate(all="ignore"):
        difference = float(np.linalg.norm(got64 - wanted64))
        norm = float(np.linalg.norm(wanted64))
    if math.isnan(difference) or not math.isfinite(floor):
        return float("nan")
    norm = max(norm, floor)
    if difference == 0.0:
        return 0.0
    return difference / norm if norm > 0 else float("inf")
