"""The gradients of a convolution, full and depthwise, with respect to its input and its weight.

Shapes as in convolution.py: dx as x [N,C,H,W], dw as the weight [O,C,KH,KW], dy as y [N,O,OH,OW].
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.graph import Array, Shape
from odl.kernels.signature import Kernel, Operand, written
from odl.kernels.tiling import ConvolutionTiling
from odl.operators.base import INFINITY, LIMITS, masked
from odl.operators.channel_sum import ChannelSum
from odl.operators.convolution import ConvolutionPass, convolution_window, is_depthwise
from odl.operators.lowering import Lowering, lowers
from odl.operators.window import CONV2D_SHAPE, POINT, Window, as_image

_INPUT_GRADIENT = (
    Operand("dy", "T"),
    Operand("w", "T"),
    Operand("addend", "T", optional=True),
    Operand("mask", "T", optional=True),
    written("dx", "T"),
    *LIMITS,
)
_WEIGHT_GRADIENT = (Operand("x", "T"), Operand("dy", "T"), written("dw", "G", updated_with="accumulate"))


def _input_gradient(template: str, depthwise: bool) -> Kernel:
    tiling = ConvolutionTiling("input_gradient", depthwise)
    return Kernel(template, CONV2D_SHAPE, _INPUT_GRADIENT, (("dx", "addend"),), tiling)


def _weight_gradient(template: str, depthwise: bool) -> Kernel:
    tiling = ConvolutionTiling("weight_gradient", depthwise)
    return Kernel(template, CONV2D_SHAPE, _WEIGHT_GRADIENT, (), tiling)


CONV2D_INPUT_GRADIENT = _input_gradient("conv2d_input_gradient", depthwise=False)
CONV2D_WEIGHT_GRADIENT = _weight_gradient("conv2d_weight_gradient", depthwise=False)
DEPTHWISE_INPUT_GRADIENT = _input_gradient("depthwise_input_gradient", depthwise=True)
DEPTHWISE_WEIGHT_GRADIENT = _weight_gradient("depthwise_weight_gradient", depthwise=True)


class InputGradient(ConvolutionPass):
    """dx = (product of dy and weight + addend) where low < mask < high.

    Inputs dy, weight, addend or None, mask or None: the output of the activation that produced x.
    """

    pass_name: ClassVar[str] = "input_gradient"
    low: float
    high: float

    @abstractmethod
    def product(self, dy: Array, weight: Array) -> Array:
        """dx without addend and mask."""

    @override
    def reference(
        self, *, dy: Array, weight: Array, addend: Array | None = None, mask: Array | None = None
    ) -> dict[str, Array]:
        dx = self.product(dy, weight)
        if addend is not None:
            dx = dx + addend
        return {"dx": dx if mask is None else masked(dx, mask, self.low, self.high)}


@dataclass(frozen=True)
class Conv2dInputGradient(InputGradient):
    """A transposed convolution with this window; `input_shape` is the shape of x."""

    window: Window
    input_shape: Shape
    depthwise: bool = False
    low: float = -INFINITY
    high: float = INFINITY

    @property
    @override
    def signature(self) -> Kernel:
        return DEPTHWISE_INPUT_GRADIENT if self.depthwise else CONV2D_INPUT_GRADIENT

    @property
    @override
    def seen(self) -> Window:
        return self.window

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dx": self.input_shape}

    @override
    def product(self, dy: Array, weight: Array) -> Array:
        dy, weight = dy.reshape(as_image(dy.shape)), weight.reshape(as_image(weight.shape))
        padded = self.window.pad(np.zeros(as_image(self.input_shape), dtype=dy.dtype))
        for i, j, r, c in self.window.taps(*dy.shape[2:]):
            if self.depthwise:
                padded[:, :, r, c] += dy * weight[None, :, 0, i, j, None, None]
            else:
                padded[:, :, r, c] += np.einsum("nohw,oc->nchw", dy, weight[:, :, i, j])
        return self.window.crop(padded).reshape(self.input_shape)


@dataclass(frozen=True)
class Conv2dWeightGradient(ConvolutionPass):
    """dw = sum over output pixels of dy times the window of x; inputs x, dy. `unrolled` as in Conv2d."""

    pass_name: ClassVar[str] = "weight_gradient"
    window: Window
    weight_shape: Shape
    depthwise: bool = False
    unrolled: bool = False

    @property
    @override
    def signature(self) -> Kernel:
        return DEPTHWISE_WEIGHT_GRADIENT if self.depthwise else CONV2D_WEIGHT_GRADIENT

    @property
    @override
    def seen(self) -> Window:
        return POINT if self.unrolled else self.window

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dw": self.weight_shape}

    @override
    def reference(self, *, x: Array, dy: Array) -> dict[str, Array]:
        x, dy = x.reshape(as_image(x.shape)), dy.reshape(as_image(dy.shape))
        shape = as_image(self.weight_shape)
        if self.unrolled:
            filters, channels, height, width = shape
            rows = np.einsum("nkhw,nohw->ok", x, dy).reshape(filters, height, width, channels)
            return {"dw": rows.transpose(0, 3, 1, 2).reshape(self.weight_shape)}
        padded, dw = self.window.pad(x), np.zeros(shape, dtype=x.dtype)
        for i, j, r, c in self.window.taps(*dy.shape[2:]):
            if self.depthwise:
                dw[:, 0, i, j] = np.einsum("nchw,nchw->c", padded[:, :, r, c], dy)
            else:
                dw[:, :, i, j] = np.einsum("nchw,nohw->oc", padded[:, :, r, c], dy)
        return {"dw": dw.reshape(self.weight_shape)}


@lowers("aten.convolution_backward.default")
def lower_convolution_backward(lowering: Lowering, node: Any) -> None:
    """The three gradients of a convolution, as three nodes."""
    dy, x, weight, _, stride, padding, dilation, transposed, _, groups, wanted = node.args
    where = lowering.where(node)
    x_shape, weight_shape = lowering.shape(x), lowering.shape(weight)
    depthwise = is_depthwise(x_shape, weight_shape, dilation, transposed, groups, where)
    window = convolution_window(weight_shape, stride, padding)
    gradients = (
        (Conv2dInputGradient(window, x_shape, depthwise), {"dy": dy, "weight": weight}),
        (Conv2dWeightGradient(window, weight_shape, depthwise), {"x": x, "dy": dy}),
        (ChannelSum(), {"dy": dy}),
    )
    results: list[str | None] = []
    for (operator, operands), is_wanted in zip(gradients, wanted, strict=True):
        results += lowering.add(node, operator, operands).values() if is_wanted else [None]
    lowering.set(node, tuple(results))
