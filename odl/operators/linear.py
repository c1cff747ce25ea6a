"""Fully connected layer and its gradients; served by the convolution kernels with a 1x1 window.

Shapes: x [N,I], weight [O,I], y [N,O]; the N rows are an image of N rows of one pixel, which cores can share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from odl.errors import InputError
from odl.graph import Array, Role, Shape
from odl.kernels.signature import Kernel
from odl.operators.base import INFINITY
from odl.operators.convolution import CONV2D_FORWARD, ConvolutionPass, ForwardPass
from odl.operators.convolution_gradients import CONV2D_INPUT_GRADIENT, CONV2D_WEIGHT_GRADIENT, InputGradient
from odl.operators.lowering import Lowering, Transposed, lowers


@dataclass(frozen=True)
class Linear(ForwardPass):
    """y = clamp(x wᵀ + bias + addend, low, high)."""

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
    def product(self, x: Array, weight: Array) -> Array:
        return x @ weight.T


@dataclass(frozen=True)
class LinearInputGradient(InputGradient):
    """dx = (dy w + addend) where low < mask < high."""

    low: float = -INFINITY
    high: float = INFINITY
    signature: ClassVar[Kernel] = CONV2D_INPUT_GRADIENT

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dx": (inputs["dy"][0], inputs["weight"][1])}

    @override
    def product(self, dy: Array, weight: Array) -> Array:
        return dy @ weight


@dataclass(frozen=True)
class LinearWeightGradient(ConvolutionPass):
    """dw = dyᵀ x; inputs x, dy."""

    pass_name: ClassVar[str] = "weight_gradient"
    signature: ClassVar[Kernel] = CONV2D_WEIGHT_GRADIENT

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dw": (inputs["dy"][1], inputs["x"][1])}

    @override
    def reference(self, *, x: Array, dy: Array) -> dict[str, Array]:
        return {"dw": dy.T @ x}


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
    weight, bias = _weight(lowering, node, transposed), lowering.parameter(node, bias)
    lowering.emit(node, Linear(), {"x": x, "weight": weight, "bias": bias})


@lowers("aten.mm.default")
def lower_mm(lowering: Lowering, node: Any) -> None:
    """x wᵀ forward, dy w to the input, dyᵀ x to the weight."""
    left, right = (lowering.operand(argument) for argument in node.args)
    if isinstance(left, Transposed) and isinstance(right, str):
        lowering.emit(node, LinearWeightGradient(), {"x": right, "dy": left.name})
    elif isinstance(left, str) and isinstance(right, Transposed):
        lowering.emit(node, Linear(), {"x": left, "weight": _weight(lowering, node, right)})
    elif isinstance(left, str) and isinstance(right, str) and _is_parameter(lowering, right):
        lowering.emit(node, LinearInputGradient(), {"dy": left, "weight": right})
    else:
        raise InputError(f"{lowering.where(node)}: a product of two activations is not supported")


def _weight(lowering: Lowering, node: Any, transposed: Transposed) -> str:
    if not _is_parameter(lowering, transposed.name):
        raise InputError(f"{lowering.where(node)}: a product of two activations is not supported")
    return transposed.name


def _is_parameter(lowering: Lowering, name: str) -> bool:
    return lowering.values[name].role is Role.PARAMETER
