"""Activations, addition and their gradients; elementwise on any shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.errors import InputError
from odl.graph.ir import Role
from odl.graph.operator import Array, Shape
from odl.kernels.call import KernelCall, Number
from odl.kernels.signature import FLAT_SHAPE, Direction, Kernel, Operand, Scalar
from odl.kernels.tiling import FLAT
from odl.operators.base import INFINITY, KernelRequest, Operator, clamp
from odl.operators.lowering import Lowering, lowers

_LIMITS = (Scalar("low"), Scalar("high"))
RELU = Kernel(
    "relu", FLAT_SHAPE, (Operand("x", "T"), Operand("y", "T", Direction.WRITE), *_LIMITS), (("y", "x"),), FLAT
)
RELU_GRADIENT = Kernel(
    "relu_gradient",
    FLAT_SHAPE,
    (Operand("dy", "T"), Operand("y", "T"), Operand("dx", "T", Direction.WRITE), *_LIMITS),
    (("dx", "dy"),),
    FLAT,
)
ADD = Kernel(
    "add",
    FLAT_SHAPE,
    (Operand("a", "T", optional=True), Operand("b", "T"), Operand("y", "T", Direction.WRITE), *_LIMITS),
    (("y", "a"), ("y", "b")),
    FLAT,
)


def _elementwise(operator: Relu | ReluGradient | Add, request: KernelRequest) -> KernelCall:
    (result,) = request.outputs.values()
    limits = {"low": Number(operator.low), "high": Number(operator.high)}
    return operator.call(request, {"T": result.dtype}, {"count": result.count}, limits)


@dataclass(frozen=True)
class Relu(Operator):
    """y = clamp(x, low, high): ReLU with (0, inf), ReLU6 with (0, 6)."""

    inputs: ClassVar[tuple[str, ...]] = ("x",)
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    low: float = 0.0
    high: float = INFINITY
    signature: ClassVar[Kernel] = RELU

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"y": inputs["x"]}

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        return {"y": clamp(x, self.low, self.high)}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        return _elementwise(self, request)


@dataclass(frozen=True)
class ReluGradient(Operator):
    """dx = dy where low < y < high, else 0; inputs dy, y (the activation's output)."""

    inputs: ClassVar[tuple[str, ...]] = ("dy", "y")
    outputs: ClassVar[tuple[str, ...]] = ("dx",)
    pass_name: ClassVar[str] = "input_gradient"
    low: float = 0.0
    high: float = INFINITY
    signature: ClassVar[Kernel] = RELU_GRADIENT

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dx": inputs["dy"]}

    @override
    def reference(self, *, dy: Array, y: Array) -> dict[str, Array]:
        return {"dx": np.where((y > self.low) & (y < self.high), dy, np.zeros_like(dy))}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        return _elementwise(self, request)


@dataclass(frozen=True)
class Add(Operator):
    """y = clamp(a + b, low, high)."""

    inputs: ClassVar[tuple[str, ...]] = ("a", "b")
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    low: float = -INFINITY
    high: float = INFINITY
    signature: ClassVar[Kernel] = ADD

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        a, b = inputs["a"], inputs["b"]
        if a != b:
            raise ValueError(f"only tensors of one shape can be added, got {a} and {b}")
        return {"y": a}

    @override
    def reference(self, *, a: Array, b: Array) -> dict[str, Array]:
        return {"y": clamp(a + b, self.low, self.high)}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        return _elementwise(self, request)


def _activation(lowering: Lowering, node: Any, low: float, high: float) -> None:
    lowering.emit(node, Relu(low, high), {"x": lowering.name(node.args[0])}, Role.ACTIVATION)


@lowers("aten.relu.default")
def lower_relu(lowering: Lowering, node: Any) -> None:
    """ReLU."""
    _activation(lowering, node, 0.0, INFINITY)


@lowers("aten.hardtanh.default")
def lower_hardtanh(lowering: Lowering, node: Any) -> None:
    """ReLU6 and other clamps with fixed limits."""
    limits = [float(limit) for limit in node.args[1:]]
    low, high = (limits + [-1.0, 1.0][len(limits) :])[:2]
    _activation(lowering, node, low, high)


@lowers("aten.threshold_backward.default")
def lower_relu_backward(lowering: Lowering, node: Any) -> None:
    """ReLU's gradient; ATen gives it the output."""
    dy, y, threshold = node.args
    operands = {"dy": lowering.name(dy), "y": lowering.name(y)}
    lowering.emit(node, ReluGradient(float(threshold), INFINITY), operands, Role.GRADIENT)


@lowers("aten.hardtanh_backward.default")
def lower_hardtanh_backward(lowering: Lowering, node: Any) -> None:
    """A clamp's gradient by its output: low < x < high exactly when low < y < high, so x need not be kept."""
    dy, x, low, high = node.args
    name = lowering.name(x)
    forward = next(
        (
            other
            for other in lowering.nodes
            if other.operator == Relu(float(low), float(high)) and other.inputs == {"x": name}
        ),
        None,
    )
    if forward is None:
        raise InputError(f"{lowering.where(node)}: the clamp that this gradient belongs to was not found")
    operator = ReluGradient(float(low), float(high))
    operands = {"dy": lowering.name(dy), "y": forward.outputs["y"]}
    lowering.emit(node, operator, operands, Role.GRADIENT)


@lowers("aten.add.Tensor")
def lower_add(lowering: Lowering, node: Any) -> None:
    """Sum of two activations or of two gradients."""
    a, b = node.args
    if not hasattr(a, "meta") or not hasattr(b, "meta") or node.kwargs.get("alpha", 1) != 1:
        raise InputError(f"{lowering.where(node)}: adding a constant or a scaled tensor is not supported")
    operands = {"a": lowering.name(a), "b": lowering.name(b)}
    roles = {lowering.values[name].role for name in operands.values()}
    if Role.PARAMETER_GRADIENT in roles:
        raise InputError("a parameter is used more than once; give each use a parameter of its own")
    if not roles <= {Role.INPUT, Role.ACTIVATION, Role.GRADIENT}:
        raise InputError(
            f"{lowering.where(node)}: adding a parameter or a buffer to an activation is not supported"
        )
    lowering.emit(node, Add(), operands, Role.GRADIENT if roles == {Role.GRADIENT} else Role.ACTIVATION)
