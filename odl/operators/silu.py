"""SiLU, x sigmoid(x) (Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2), and its gradient; any shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.graph import Array
from odl.kernels.signature import FLAT_SHAPE, Kernel, Operand, written
from odl.kernels.tiling import FLAT
from odl.operators.base import Elementwise
from odl.operators.lowering import Lowering, Reads, arguments_of, lowers, lowers_expression

SILU = Kernel("silu", FLAT_SHAPE, (Operand("x", "T"), written("y", "T")), (("y", "x"),), FLAT)
SILU_GRADIENT = Kernel(
    "silu_gradient",
    FLAT_SHAPE,
    (Operand("dy", "T"), Operand("x", "T"), written("dx", "T")),
    (("dx", "dy"), ("dx", "x")),
    FLAT,
)


@dataclass(frozen=True)
class Silu(Elementwise):
    """y = x sigmoid(x), the exponential in fp32; input x."""

    signature: ClassVar[Kernel] = SILU

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        return {"y": x / (1 + np.exp(-x))}


@dataclass(frozen=True)
class SiluGradient(Elementwise):
    """dx = dy s (1 + x (1 - s)) with s = sigmoid(x); inputs dy, x (the activation's input)."""

    pass_name: ClassVar[str] = "input_gradient"
    signature: ClassVar[Kernel] = SILU_GRADIENT

    @override
    def reference(self, *, dy: Array, x: Array) -> dict[str, Array]:
        sigmoid = 1 / (1 + np.exp(-x))
        return {"dx": dy * sigmoid * (1 + x * (1 - sigmoid))}


@lowers("aten.silu.default")
def lower_silu(lowering: Lowering, node: Any) -> None:
    """silu(x)."""
    lowering.emit(node, Silu(), {"x": node.args[0]})


def _gradient_reads(node: Any) -> Reads | None:
    """dy and x of dy * (s * (x * (1 - s) + 1)), s = sigmoid(x): how PyTorch writes the gradient."""
    dy, factor = node.args
    sigmoid, rest = arguments_of(factor, "aten.mul.Tensor")
    scaled, one = arguments_of(rest, "aten.add.Scalar")
    x, complement = arguments_of(scaled, "aten.mul.Tensor")
    ones, subtracted = arguments_of(complement, "aten.sub.Tensor")
    _, filling = arguments_of(ones, "aten.fill.Scalar")
    (inside,) = arguments_of(sigmoid, "aten.sigmoid.default", 1)
    matches = one == filling == 1 and subtracted is sigmoid and inside is x is not None
    return {"dy": dy, "x": x} if matches else None


@lowers_expression("aten.mul.Tensor", _gradient_reads)
def lower_silu_gradient(lowering: Lowering, node: Any, reads: Reads) -> None:
    """The gradient as one operator."""
    lowering.emit(node, SiluGradient(), reads, lowering.values[lowering.name(reads["dy"])].role)
