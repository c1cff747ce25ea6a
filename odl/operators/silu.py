"""SiLU, x sigmoid(x) (Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2), and its gradient; any shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.graph.ir import Role
from odl.graph.operator import Array, Shape
from odl.kernels.call import KernelCall
from odl.kernels.signature import FLAT_SHAPE, Direction, Kernel, Operand
from odl.kernels.tiling import FLAT
from odl.operators.base import KernelRequest, Operator
from odl.operators.lowering import Lowering, Reads, lowers, lowers_expression

SILU = Kernel(
    "silu", FLAT_SHAPE, (Operand("x", "T"), Operand("y", "T", Direction.WRITE)), (("y", "x"),), FLAT
)
SILU_GRADIENT = Kernel(
    "silu_gradient",
    FLAT_SHAPE,
    (Operand("dy", "T"), Operand("x", "T"), Operand("dx", "T", Direction.WRITE)),
    (("dx", "dy"), ("dx", "x")),
    FLAT,
)


@dataclass(frozen=True)
class Silu(Operator):
    """y = x sigmoid(x), the exponential in fp32; input x."""

    inputs: ClassVar[tuple[str, ...]] = ("x",)
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    signature: ClassVar[Kernel] = SILU

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"y": inputs["x"]}

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        return {"y": x / (1 + np.exp(-x))}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        y = request.outputs["y"]
        return self.call(request, {"T": y.dtype}, {"count": y.count})


@dataclass(frozen=True)
class SiluGradient(Operator):
    """dx = dy s (1 + x (1 - s)) with s = sigmoid(x); inputs dy, x (the activation's input)."""

    inputs: ClassVar[tuple[str, ...]] = ("dy", "x")
    outputs: ClassVar[tuple[str, ...]] = ("dx",)
    pass_name: ClassVar[str] = "input_gradient"
    signature: ClassVar[Kernel] = SILU_GRADIENT

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dx": inputs["dy"]}

    @override
    def reference(self, *, dy: Array, x: Array) -> dict[str, Array]:
        sigmoid = 1 / (1 + np.exp(-x))
        return {"dx": dy * sigmoid * (1 + x * (1 - sigmoid))}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        dx = request.outputs["dx"]
        return self.call(request, {"T": dx.dtype}, {"count": dx.count})


@lowers("aten.silu.default")
def lower_silu(lowering: Lowering, node: Any) -> None:
    """silu(x)."""
    lowering.emit(node, Silu(), {"x": lowering.name(node.args[0])}, Role.ACTIVATION)


def _gradient_reads(node: Any) -> Reads | None:
    """dy and x of dy * (s * (x * (1 - s) + 1)), s = sigmoid(x): how PyTorch writes the gradient."""
    dy, factor = node.args
    sigmoid, rest = _arguments(factor, "aten.mul.Tensor")
    scaled, one = _arguments(rest, "aten.add.Scalar")
    x, complement = _arguments(scaled, "aten.mul.Tensor")
    ones, subtracted = _arguments(complement, "aten.sub.Tensor")
    _, filling = _arguments(ones, "aten.fill.Scalar")
    (inside,) = _arguments(sigmoid, "aten.sigmoid.default", 1)
    matches = one == filling == 1 and subtracted is sigmoid and inside is x is not None
    return {"dy": dy, "x": x} if matches else None


def _arguments(node: Any, target: str, count: int = 2) -> tuple[Any, ...]:
    """The arguments of a call of that ATen operator; Nones of anything else."""
    return tuple(node.args) if str(getattr(node, "target", "")) == target else (None,) * count


@lowers_expression("aten.mul.Tensor", _gradient_reads)
def lower_silu_gradient(lowering: Lowering, node: Any, reads: Reads) -> None:
    """The gradient as one operator."""
    operands = {name: lowering.name(item) for name, item in reads.items()}
    lowering.emit(node, SiluGradient(), operands, lowering.values[operands["dy"]].role)
