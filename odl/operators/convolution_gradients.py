"""The gradients of a convolution, full and depthwise, with respect to its input and its weight.

Shapes as in convolution.py: dx as x [N,C,H,W], dw as the weight [O,C,KH,KW], dy as y [N,O,OH,OW].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.graph.ir import Role
from odl.graph.operator import Array, Shape
from odl.kernels.call import KernelCall, Number, register_tiles
from odl.kernels.signature import (
    Direction,
    Kernel,
    Operand,
    Scalar,
    Specialisation,
)
from odl.kernels.tiling import ConvolutionTiling
from odl.operators.base import INFINITY, KernelRequest, Operator
from odl.operators.channel_sum import ChannelSum
from odl.operators.convolution import (
    WEIGHT_OPERAND,
    bias_type,
    convolution_macs,
    convolution_window,
    is_depthwise,
    window_seen,
)
from odl.operators.lowering import Lowering, lowers
from odl.operators.window import CONV2D_SHAPE, Window, shape_struct

_INPUT_GRADIENT = (
    Operand("dy", "T"),
    Operand("w", "T"),
    Operand("addend", "T", optional=True),
    Operand("mask", "T", optional=True),
    Operand("dx", "T", Direction.WRITE),
    Scalar("low"),
    Scalar("high"),
)
_WEIGHT_GRADIENT = (
    Operand("x", "T"),
    Operand("dy", "T"),
    Operand("dw", "G", Direction.WRITE, updated_with="accumulate"),
)


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

#: Register tiles and what the tuner chooses from, as in convolution.py.
INPUT_GRADIENT_TILE = {"tile_pixels": 4, "tile_inputs": 4}
WEIGHT_GRADIENT_TILE = {"tile_channels": 4, "tile_inputs": 4}
DEPTHWISE_INPUT_GRADIENT_TILE = {"tile_pixels": 4}
DEPTHWISE_WEIGHT_GRADIENT_TILE = {"tile_channels": 4}
VARIANTS = {
    "conv2d_input_gradient": register_tiles(
        INPUT_GRADIENT_TILE, tile_pixels=(4, 2, 1), tile_inputs=(4, 2, 1)
    ),
    "conv2d_weight_gradient": register_tiles(
        WEIGHT_GRADIENT_TILE, tile_channels=(4, 2, 1), tile_inputs=(4, 2, 1)
    ),
    "depthwise_input_gradient": register_tiles(DEPTHWISE_INPUT_GRADIENT_TILE, tile_pixels=(4, 2, 1)),
    "depthwise_weight_gradient": register_tiles(DEPTHWISE_WEIGHT_GRADIENT_TILE, tile_channels=(4, 2, 1)),
}


@dataclass(frozen=True)
class Conv2dInputGradient(Operator):
    """dx = (transposed conv(dy, w) + addend) where low < mask < high; inputs dy, w, addend or None, mask or None.

    `mask` is the output of the activation that produced x, `input_shape` the shape of x.
    """

    inputs: ClassVar[tuple[str, ...]] = ("dy", "weight", "addend", "mask")
    outputs: ClassVar[tuple[str, ...]] = ("dx",)
    pass_name: ClassVar[str] = "input_gradient"
    window: Window
    input_shape: Shape
    depthwise: bool = False
    low: float = -INFINITY
    high: float = INFINITY
    operand_names: ClassVar[Mapping[str, str]] = WEIGHT_OPERAND

    @property
    @override
    def signature(self) -> Kernel:
        return DEPTHWISE_INPUT_GRADIENT if self.depthwise else CONV2D_INPUT_GRADIENT

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dx": self.input_shape}

    @override
    def macs(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> int:
        return convolution_macs(inputs["weight"], inputs["dy"])

    @override
    def reference(
        self, *, dy: Array, weight: Array, addend: Array | None = None, mask: Array | None = None
    ) -> dict[str, Array]:
        n, c, h, w = self.input_shape
        top, left, bottom, right = self.window.padding
        padded = np.zeros((n, c, h + top + bottom, w + left + right), dtype=dy.dtype)
        for i, j, r, k in self.window.taps(dy.shape[2], dy.shape[3]):
            if self.depthwise:
                padded[:, :, r, k] += dy * weight[None, :, 0, i, j, None, None]
            else:
                padded[:, :, r, k] += np.einsum("nohw,oc->nchw", dy, weight[:, :, i, j])
        dx = self.window.crop(padded)
        if addend is not None:
            dx = dx + addend
        if mask is not None:
            dx = np.where((mask > self.low) & (mask < self.high), dx, 0)
        return {"dx": dx}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        dy, dx = request.present("dy"), request.present("dx")
        tile = DEPTHWISE_INPUT_GRADIENT_TILE if self.depthwise else INPUT_GRADIENT_TILE
        return self.call(
            request,
            {"T": dy.dtype, "P": bias_type(request, dy.dtype), **request.sums, **tile},
            shape_struct(self.window, dx.shape, dy.shape),
            {"low": Number(self.low), "high": Number(self.high)},
            VARIANTS[self.signature.template],
        )


@dataclass(frozen=True)
class Conv2dWeightGradient(Operator):
    """dw = sum over output pixels of dy times the window of x; inputs x, dy. `unrolled` as in Conv2d."""

    inputs: ClassVar[tuple[str, ...]] = ("x", "dy")
    outputs: ClassVar[tuple[str, ...]] = ("dw",)
    pass_name: ClassVar[str] = "weight_gradient"
    window: Window
    weight_shape: Shape
    depthwise: bool = False
    unrolled: bool = False

    @property
    @override
    def signature(self) -> Kernel:
        return DEPTHWISE_WEIGHT_GRADIENT if self.depthwise else CONV2D_WEIGHT_GRADIENT

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dw": self.weight_shape}

    @override
    def macs(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> int:
        return convolution_macs(self.weight_shape, inputs["dy"])

    @override
    def reference(self, *, x: Array, dy: Array) -> dict[str, Array]:
        if self.unrolled:
            filters, channels, height, width = self.weight_shape
            rows = np.einsum("nkhw,nohw->ok", x, dy).reshape(filters, height, width, channels)
            return {"dw": rows.transpose(0, 3, 1, 2)}
        padded = self.window.pad(x)
        dw = np.zeros(self.weight_shape, dtype=x.dtype)
        for i, j, r, c in self.window.taps(dy.shape[2], dy.shape[3]):
            if self.depthwise:
                dw[:, 0, i, j] = np.einsum("nchw,nchw->c", padded[:, :, r, c], dy)
            else:
                dw[:, :, i, j] = np.einsum("nchw,nohw->oc", padded[:, :, r, c], dy)
        return {"dw": dw}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        x, dy = request.present("x"), request.present("dy")
        context: Specialisation = {
            "T": x.dtype,
            "P": bias_type(request, x.dtype),
            "G": request.present("dw").dtype,
            "accumulate": request.accumulate,
            **request.sums,
            **(DEPTHWISE_WEIGHT_GRADIENT_TILE if self.depthwise else WEIGHT_GRADIENT_TILE),
        }
        shape = shape_struct(window_seen(self.window, self.unrolled), x.shape, dy.shape)
        return self.call(request, context, shape, variants=VARIANTS[self.signature.template])


@lowers("aten.convolution_backward.default")
def lower_convolution_backward(lowering: Lowering, node: Any) -> None:
    """The three gradients of a convolution, as three nodes."""
    dy, x, weight, _, stride, padding, dilation, transposed, _, groups, wanted = node.args
    where = lowering.where(node)
    weight_shape = lowering.shape(weight)
    depthwise = is_depthwise(lowering.shape(x), weight_shape, dilation, transposed, groups, where)
    window = convolution_window(weight_shape, stride, padding)
    results: list[str | None] = [None, None, None]
    gradient, weight_name = lowering.name(dy), lowering.name(weight)
    if wanted[0]:
        operator = Conv2dInputGradient(window, lowering.shape(x), depthwise)
        operands = {"dy": gradient, "weight": weight_name}
        results[0] = lowering.add(node, operator, operands, Role.GRADIENT)["dx"]
    if wanted[1]:
        weight_gradient = Conv2dWeightGradient(window, weight_shape, depthwise)
        operands = {"x": lowering.name(x), "dy": gradient}
        results[1] = lowering.add(node, weight_gradient, operands, Role.PARAMETER_GRADIENT)["dw"]
    if wanted[2]:
        results[2] = lowering.add(node, ChannelSum(), {"dy": gradient}, Role.PARAMETER_GRADIENT)["db"]
    lowering.set_tuple(node, results)
