"""Fully connected layer and its gradients; served by the convolution kernels with a 1x1 window.

Shapes: x [N,I], weight [O,I], y [N,O]; the N rows are an image of N rows of one pixel, which cores can share.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.errors import InputError
from odl.graph.ir import Role, Value
from odl.graph.operator import Array, Shape
from odl.kernels.call import KernelCall
from odl.kernels.signature import Kernel
from odl.operators.base import INFINITY, KernelRequest, Operator, clamp
from odl.operators.channel_sum import ChannelSum
from odl.operators.convolution import CONV2D_FORWARD, Conv2d
from odl.operators.convolution_gradients import (
    CONV2D_INPUT_GRADIENT,
    CONV2D_WEIGHT_GRADIENT,
    Conv2dInputGradient,
    Conv2dWeightGradient,
)
from odl.operators.lowering import Lowering, Transposed, lowers
from odl.operators.window import Window

_POINT = Window((1, 1))


def _as_image(value: Value) -> Value:
    """[N,C] seen as one image of N rows of one pixel, [1,C,N,1]."""
    rows, channels = value.shape
    return Value(value.name, (1, channels, rows, 1), value.role, value.dtype)


def _as_kernel(value: Value) -> Value:
    """[O,I] seen as a 1x1 convolution's weight."""
    return Value(value.name, (*value.shape, 1, 1), value.role, value.dtype)


def _as_convolution(request: KernelRequest) -> KernelRequest:
    """The request of the 1x1 convolution that computes the same."""
    inputs = {name: _seen(name, value) for name, value in request.inputs.items()}
    outputs = {name: _seen(name, value) for name, value in request.outputs.items()}
    return dataclasses.replace(request, inputs=inputs, outputs=outputs)


def _seen(name: str, value: Value) -> Value:
    if len(value.shape) != 2:  # a bias
        return value
    return _as_kernel(value) if name in ("weight", "dw") else _as_image(value)


def _macs(rows: int, weight: Shape) -> int:
    return rows * weight[0] * weight[1]


@dataclass(frozen=True)
class Linear(Operator):
    """y = clamp(x wᵀ + bias + addend, low, high); inputs x, w, bias or None, addend or None."""

    inputs: ClassVar[tuple[str, ...]] = ("x", "weight", "bias", "addend")
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    low: float = -INFINITY
    high: float = INFINITY
    signature: ClassVar[Kernel] = CONV2D_FORWARD

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        x, weight = inputs["x"], inputs["weight"]
        if len(x) != 2:
            raise ValueError(f"a linear layer takes [batch, features], got {len(x)} dimensions")
        if x[1] != weight[1]:
            raise ValueError(f"the input has {x[1]} features, the weight expects {weight[1]}")
        if inputs.get("bias", weight[:1]) != weight[:1]:
            raise ValueError(f"the bias has shape {inputs['bias']}, the weight expects {weight[:1]}")
        return {"y": (x[0], weight[0])}

    @override
    def macs(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> int:
        return _macs(outputs["y"][0], inputs["weight"])

    @override
    def reference(
        self, *, x: Array, weight: Array, bias: Array | None = None, addend: Array | None = None
    ) -> dict[str, Array]:
        y = x @ weight.T
        if bias is not None:
            y = y + bias
        if addend is not None:
            y = y + addend
        return {"y": clamp(y, self.low, self.high)}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        return Conv2d(_POINT, low=self.low, high=self.high).kernel(_as_convolution(request))


@dataclass(frozen=True)
class LinearInputGradient(Operator):
    """dx = (dy w + addend) where low < mask < high; inputs dy, w, addend or None, mask or None."""

    inputs: ClassVar[tuple[str, ...]] = ("dy", "weight", "addend", "mask")
    outputs: ClassVar[tuple[str, ...]] = ("dx",)
    pass_name: ClassVar[str] = "input_gradient"
    low: float = -INFINITY
    high: float = INFINITY
    signature: ClassVar[Kernel] = CONV2D_INPUT_GRADIENT

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dx": (inputs["dy"][0], inputs["weight"][1])}

    @override
    def macs(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> int:
        return _macs(outputs["dx"][0], inputs["weight"])

    @override
    def reference(
        self, *, dy: Array, weight: Array, addend: Array | None = None, mask: Array | None = None
    ) -> dict[str, Array]:
        dx = dy @ weight
        if addend is not None:
            dx = dx + addend
        if mask is not None:
            dx = np.where((mask > self.low) & (mask < self.high), dx, 0)
        return {"dx": dx}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        request = _as_convolution(request)
        operator = Conv2dInputGradient(_POINT, request.present("dx").shape, low=self.low, high=self.high)
        return operator.kernel(request)


@dataclass(frozen=True)
class LinearWeightGradient(Operator):
    """dw = dyᵀ x; inputs x, dy."""

    inputs: ClassVar[tuple[str, ...]] = ("x", "dy")
    outputs: ClassVar[tuple[str, ...]] = ("dw",)
    pass_name: ClassVar[str] = "weight_gradient"
    signature: ClassVar[Kernel] = CONV2D_WEIGHT_GRADIENT

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dw": (inputs["dy"][1], inputs["x"][1])}

    @override
    def macs(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> int:
        return _macs(inputs["x"][0], outputs["dw"])

    @override
    def reference(self, *, x: Array, dy: Array) -> dict[str, Array]:
        return {"dw": dy.T @ x}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        request = _as_convolution(request)
        return Conv2dWeightGradient(_POINT, request.present("dw").shape).kernel(request)


@lowers("aten.t.default", part=True)
def lower_transpose(lowering: Lowering, node: Any) -> None:
    """A transposed view; two of them cancel."""
    operand = lowering.operand(node.args[0])
    if isinstance(operand, Transposed):
        lowering.set(node, operand.name)
    else:
        lowering.set(node, Transposed(lowering.name(node.args[0])))


@lowers("aten.addmm.default")
def lower_addmm(lowering: Lowering, node: Any) -> None:
    """bias + x wᵀ."""
    bias, x, weight = node.args
    transposed = lowering.operand(weight)
    if not isinstance(transposed, Transposed):
        raise InputError(f"{lowering.where(node)}: only x @ weight.T + bias (a linear layer) is supported")
    operands = {
        "x": lowering.name(x),
        "weight": _weight(lowering, node, transposed),
        "bias": lowering.parameter(node, bias),
    }
    lowering.emit(node, Linear(), operands, Role.ACTIVATION)


@lowers("aten.mm.default")
def lower_mm(lowering: Lowering, node: Any) -> None:
    """x wᵀ forward, dy w to the input, dyᵀ x to the weight."""
    left, right = (lowering.operand(argument) for argument in node.args)
    if isinstance(left, Transposed) and isinstance(right, str):
        operands = {"x": right, "dy": left.name}
        lowering.emit(node, LinearWeightGradient(), operands, Role.PARAMETER_GRADIENT)
    elif isinstance(left, str) and isinstance(right, Transposed):
        operands = {"x": left, "weight": _weight(lowering, node, right)}
        lowering.emit(node, Linear(), operands, Role.ACTIVATION)
    elif isinstance(left, str) and isinstance(right, str) and _is_parameter(lowering, right):
        lowering.emit(node, LinearInputGradient(), {"dy": left, "weight": right}, Role.GRADIENT)
    else:
        raise InputError(f"{lowering.where(node)}: a product of two activations is not supported")


def _weight(lowering: Lowering, node: Any, transposed: Transposed) -> str:
    if not _is_parameter(lowering, transposed.name):
        raise InputError(f"{lowering.where(node)}: a product of two activations is not supported")
    return transposed.name


def _is_parameter(lowering: Lowering, name: str) -> bool:
    return lowering.values[name].role is Role.PARAMETER


@lowers("aten.sum.dim_IntList", part=True)
def lower_sum(lowering: Lowering, node: Any) -> None:
    """The bias gradient of a linear layer: a sum over the rows."""
    x, axes = node.args[0], [int(axis) for axis in node.args[1]]
    rank = len(lowering.shape(x))
    if [axis % rank for axis in axes] != [axis for axis in range(rank) if axis != 1]:
        raise InputError(f"{lowering.where(node)}: a sum over axes {axes} is not supported")
    dy = lowering.name(x)
    if lowering.values[dy].role is not Role.GRADIENT:
        raise InputError(f"{lowering.where(node)}: a sum of activations is not supported")
    lowering.emit(node, ChannelSum(), {"dy": dy}, Role.PARAMETER_GRADIENT)
