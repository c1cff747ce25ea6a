"""Sums of squared gradients, an element at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from odl.graph.operator import Array, Shape
from odl.kernels.call import KernelCall, Runtime
from odl.kernels.signature import FLAT_SHAPE, Direction, Kernel, Operand, Scalar
from odl.kernels.tiling import FLAT
from odl.operators.base import KernelRequest, Operator

SQUARED_SUM = Kernel(
    "squared_sum",
    FLAT_SHAPE,
    (Operand("g", "G"), Operand("sum", "f32", Direction.UPDATE), Scalar("gradient_factor")),
    tiling=FLAT,
)


@dataclass(frozen=True)
class SquaredSum(Operator):
    """Add the square of the gradient, freed of the loss scale, to an fp32 sum of its shape (written in place)."""

    inputs: ClassVar[tuple[str, ...]] = ("gradient", "sum")
    pass_name: ClassVar[str] = "update"
    signature: ClassVar[Kernel] = SQUARED_SUM
    operand_names: ClassVar[Mapping[str, str]] = {"g": "gradient"}

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {}

    @override
    def reference(self, **arrays: Array) -> dict[str, Array]:
        """None: the sum is updated in place, with a factor that only the running network knows."""
        raise TypeError("a sum of squares has no value; tests compare it with PyTorch's gradients")

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        gradient = request.present("gradient")
        factor = {"gradient_factor": Runtime("gradient_factor")}
        return self.call(request, {"G": gradient.dtype}, {"count": gradient.count}, factor)
