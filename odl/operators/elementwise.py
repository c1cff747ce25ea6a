"""Activations, addition and their gradients; elementwise on any shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from odl.errors import InputError
from odl.graph import Array, Role
from odl.kernels.signature import FLAT_SHAPE, Kernel, Operand, written
from odl.kernels.tiling import FLAT
from odl.operators.base import INFINITY, LIMITS, Elementwise, clamp, masked
from odl.operators.lowering import Lowering, arguments, lowers

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


@lowers("aten.hardtanh_backward.default")
def lower_hardtanh_backward(lowering: Lowering, node: Any) -> None:
    """A clamp's gradient by its output: low < x < high exactly when low < y < high, so x need not be kept."""
    dy, x, low, high = node.args
    forward, inputs = Relu(float(low), float(high)), {"x": lowering.name(x)}
    made = (item.outputs["y"] for item in lowering.nodes if (item.operator, item.inputs) == (forward, inputs))
    y = next(made, None)
    if y is None:
        raise InputError(f"{lowering.where(node)}: the clamp that this gradient belongs to was not found")
    lowering.emit(node, ReluGradient(forward.low, forward.high), {"dy": dy, "y": y})


@lowers("aten.add.Tensor")
def lower_add(lowering: Lowering, node: Any) -> None:
    """Sum of two activations or of two gradients."""
    a, b = node.args
    if not hasattr(a, "meta") or not hasattr(b, "meta") or node.kwargs.get("alpha", 1) != 1:
        raise InputError(f"{lowering.where(node)}: adding a constant or a scaled tensor is not supported")
    roles = {lowering.values[lowering.name(item)].role for item in (a, b)}
    if Role.PARAMETER_GRADIENT in roles:
        raise InputError("a parameter is used more than once; give each use a parameter of its own")
    if not roles <= {Role.INPUT, Role.ACTIVATION, Role.GRADIENT}:
        raise InputError(
            f"{lowering.where(node)}: adding a parameter or a buffer to an activation is not supported"
        )
    role = Role.GRADIENT if roles == {Role.GRADIENT} else Role.ACTIVATION
    lowering.emit(node, Add(), {"a": a, "b": b}, role)
