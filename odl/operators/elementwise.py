"""Activations, addition and their gradients; elementwise on any shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from odl.errors import InputError
from odl.graph import Array
from odl.kernels.signature import FLAT_SHAPE, Kernel, Operand, written
from odl.kernels.tiling import FLAT
from odl.operators.base import INFINITY, LIMITS, Elementwise, clamp, masked
from odl.operators.lowering import Lowering, Reads, arguments, arguments_of, lowers, lowers_expression

RELU = Kernel("relu", FLAT_SHAPE, (Operand("x", "T"), written("y", "T"), *LIMITS), (("y", "x"),), FLAT)
RELU_GRADIENT = Kernel(
    "relu_gradient",
    FLAT_SHAPE,
    (Operand("dy", "T"), Operand("y", "T"), written("dx", "T"), *LIMITS),
    (("dx", "dy"),),
    FLAT,
)
ADD = Kernel(
    "add",
    FLAT_SHAPE,
    (Operand("a", "T", optional=True), Operand("b", "T"), written("y", "T"), *LIMITS),
    (("y", "a"), ("y", "b")),
    FLAT,
)


@dataclass(frozen=True)
class Relu(Elementwise):
    """y = clamp(x, low, high): ReLU with (0, inf), ReLU6 with (0, 6)."""

    signature: ClassVar[Kernel] = RELU
    low: float = 0.0
    high: float = INFINITY

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        return {"y": clamp(x, self.low, self.high)}


@dataclass(frozen=True)
class ReluGradient(Elementwise):
    """dx = dy where low < y < high, else 0; inputs dy, y (the activation's output)."""

    pass_name: ClassVar[str] = "input_gradient"
    signature: ClassVar[Kernel] = RELU_GRADIENT
    low: float = 0.0
    high: float = INFINITY

    @override
    def reference(self, *, dy: Array, y: Array) -> dict[str, Array]:
        return {"dx": masked(dy, y, self.low, self.high)}


@dataclass(frozen=True)
class Add(Elementwise):
    """y = clamp(a + b, low, high)."""

    signature: ClassVar[Kernel] = ADD
    low: float = -INFINITY
    high: float = INFINITY

    @override
    def reference(self, *, a: Array, b: Array) -> dict[str, Array]:
        return {"y": clamp(a + b, self.low, self.high)}


@lowers("aten.relu.default")
def lower_relu(lowering: Lowering, node: Any) -> None:
    """ReLU."""
    lowering.emit(node, Relu(), {"x": node.args[0]})


@lowers("aten.hardtanh.default")
def lower_hardtanh(lowering: Lowering, node: Any) -> None:
    """ReLU6 and other clamps with fixed limits."""
    low, high = arguments(node.args[1:], -1.0, 1.0)
    lowering.emit(node, Relu(float(low), float(high)), {"x": node.args[0]})


@lowers("aten.threshold_backward.default")
def lower_relu_backward(lowering: Lowering, node: Any) -> None:
    """ReLU's gradient; ATen gives it the output."""
    dy, y, threshold = node.args
    lowering.emit(node, ReluGradient(float(threshold), INFINITY), {"dy": dy, "y": y})


@lowers("aten.clamp.default", "aten.clamp_min.default", "aten.clamp_max.default")
def lower_clamp(lowering: Lowering, node: Any) -> None:
    """clamp(x, low, high), of which one limit may be missing."""
    lowering.emit(node, Relu(*_clamp_limits(node)), {"x": node.args[0]})


def _clamp_limits(node: Any) -> tuple[float, float]:
    given = [None, *node.args[1:]] if "clamp_max" in str(node.target) else node.args[1:]
    low, high = arguments(given, None, None)
    return -INFINITY if low is None else float(low), INFINITY if high is None else float(high)


@lowers("aten.hardtanh_backward.default")
def lower_hardtanh_backward(lowering: Lowering, node: Any) -> None:
    """A clamp's gradient by its output: low < x < high exactly when low < y < high, so x need not be kept."""
    dy, x, low, high = node.args
    _emit_clamp_gradient(lowering, node, dy, x, float(low), float(high))


def _emit_clamp_gradient(lowering: Lowering, node: Any, dy: Any, x: Any, low: float, high: float) -> None:
    y = lowering.output_of(Relu(low, high), {"x": lowering.name(x)})
    if y is None:
        raise InputError(f"{lowering.where(node)}: the clamp that this gradient belongs to was not found")
    lowering.emit(node, ReluGradient(low, high), {"dy": dy, "y": y})


def _inside(mask: Any) -> tuple[Any, float, float] | None:
    """x and the limits of x >= low, x <= high, or both."""
    first, second = arguments_of(mask, "aten.logical_and.default")
    x, low = arguments_of(mask if first is None else first, "aten.ge.Scalar")
    other, high = arguments_of(mask if second is None else second, "aten.le.Scalar")
    if (x is None and other is None) or (first is not None and x is not other):
        return None
    return (
        other if x is None else x,
        -INFINITY if low is None else float(low),
        INFINITY if high is None else float(high),
    )


def _clamp_gradient_reads(node: Any) -> Reads | None:
    """dy and x of where(x >= low and x <= high, dy, 0): how PyTorch writes the gradient of a clamp."""
    mask, dy, other = node.args
    inside, (zero,) = _inside(mask), arguments_of(other, "aten.scalar_tensor.default", 1)
    return {"dy": dy, "x": inside[0]} if inside is not None and zero == 0 else None


@lowers_expression("aten.where.self", _clamp_gradient_reads)
def lower_clamp_gradient(lowering: Lowering, node: Any, reads: Reads) -> None:
    """A clamp's gradient as one operator. At a limit itself it is 0, where PyTorch gives clamp's dy and hardtanh's 0."""
    inside = _inside(node.args[0])
    assert inside is not None
    _emit_clamp_gradient(lowering, node, reads["dy"], *inside)
