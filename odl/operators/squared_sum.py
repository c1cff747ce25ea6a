"""Sums of squared gradients, an element at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from odl.kernels.call import Runtime
from odl.kernels.signature import FLAT_SHAPE, Kernel, Operand, Scalar, updated
from odl.kernels.tiling import FLAT
from odl.operators.base import InPlaceOperator

SQUARED_SUM = Kernel(
    "squared_sum",
    FLAT_SHAPE,
    (Operand("g", "G"), updated("sum", "f32"), Scalar("gradient_factor")),
    tiling=FLAT,
)


@dataclass(frozen=True)
class SquaredSum(InPlaceOperator):
    """Add the square of the gradient, freed of the loss scale, to an fp32 sum of its shape (written in place)."""

    signature: ClassVar[Kernel] = SQUARED_SUM
    operand_names: ClassVar[Mapping[str, str]] = {"g": "gradient"}
    gradient_factor: ClassVar[Runtime] = Runtime("gradient_factor")
