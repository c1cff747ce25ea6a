"""Two-dimensional convolution, full and depthwise, forward; convolution_gradients.py has what goes backward.

Shapes: x [N,C,H,W], weight [O,C,KH,KW] (depthwise [C,1,KH,KW]), y [N,O,OH,OW]. Padding is zeros and may differ on
each side; dilation and other groupings are refused with a clear error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.errors import InputError
from odl.graph.ir import DType, Role
from odl.graph.operator import Array, Shape
from odl.kernels.call import KernelCall, Number, register_tiles
from odl.kernels.signature import (
    Direction,
    Kernel,
    Operand,
    Scalar,
)
from odl.kernels.tiling import ConvolutionTiling
from odl.operators.base import INFINITY, KernelRequest, Operator, clamp
from odl.operators.lowering import Lowering, lowers
from odl.operators.window import CONV2D_SHAPE, Window, shape_struct

#: What the kernels call w is the operators' weight.
WEIGHT_OPERAND = {"w": "weight"}
_FORWARD = (
    Operand("x", "T"),
    Operand("w", "T"),
    Operand("bias", "P", optional=True),
    Operand("addend", "T", optional=True),
    Operand("y", "T", Direction.WRITE),
    Scalar("low"),
    Scalar("high"),
)


def _forward(template: str, depthwise: bool) -> Kernel:
    tiling = ConvolutionTiling("forward", depthwise)
    return Kernel(template, CONV2D_SHAPE, _FORWARD, (("y", "addend"),), tiling)


CONV2D_FORWARD = _forward("conv2d_forward", depthwise=False)
DEPTHWISE_FORWARD = _forward("depthwise_forward", depthwise=True)

#: Register tiles: what one inner loop computes together. They change the speed, never the bits. 4 x 4 fills the
#: registers of a cluster's core: 8 loads feed 16 packed multiply-adds.
FORWARD_TILE = {"tile_pixels": 4, "tile_channels": 4}
DEPTHWISE_TILE = {"tile_pixels": 4}

#: What the tuner chooses from, for each kernel. To add one: `+ (Variant({...}),)`.
VARIANTS = {
    "conv2d_forward": register_tiles(FORWARD_TILE, tile_pixels=(4, 2, 1), tile_channels=(4, 2, 1)),
    "depthwise_forward": register_tiles(DEPTHWISE_TILE, tile_pixels=(4, 2, 1)),
}


def window_seen(window: Window, unrolled: bool) -> Window:
    """The window through which an input is seen: what im2row made of it has the windows in its rows."""
    return Window((1, 1)) if unrolled else window


def bias_type(request: KernelRequest, dtype: DType) -> DType:
    """Type that biases have beside activations of a type: fp32 wherever sums are carried to fp32."""
    return DType.F32 if request.chunk is not None else dtype


def convolution_macs(weight: Shape, y: Shape) -> int:
    """Output elements times window size times input channels per group, in each of the three passes."""
    return y[0] * y[2] * y[3] * weight[0] * weight[1] * weight[2] * weight[3]


@dataclass(frozen=True)
class Conv2d(Operator):
    """y = clamp(conv(x, w) + bias + addend, low, high); inputs x, w, bias or None, addend or None.

    `unrolled`: x is what im2row made of the input with this window, [N,KH*KW*C,OH,OW].
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "weight", "bias", "addend")
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    window: Window
    depthwise: bool = False
    low: float = -INFINITY
    high: float = INFINITY
    unrolled: bool = False
    operand_names: ClassVar[Mapping[str, str]] = WEIGHT_OPERAND

    @property
    @override
    def signature(self) -> Kernel:
        return DEPTHWISE_FORWARD if self.depthwise else CONV2D_FORWARD

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        x, weight = inputs["x"], inputs["weight"]
        channels = weight[0] if self.depthwise else math.prod(weight[1:]) if self.unrolled else weight[1]
        if x[1] != channels:
            raise ValueError(f"the input has {x[1]} channels, the weight expects {channels}")
        return {"y": (x[0], weight[0], *window_seen(self.window, self.unrolled).output_size(x[2], x[3]))}

    @override
    def macs(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> int:
        return convolution_macs(inputs["weight"], outputs["y"])

    @override
    def reference(
        self, *, x: Array, weight: Array, bias: Array | None = None, addend: Array | None = None
    ) -> dict[str, Array]:
        n, o, rows, columns = self.shapes({"x": x.shape, "weight": weight.shape})["y"]
        if self.unrolled:
            weight = weight.transpose(0, 2, 3, 1).reshape(o, -1, 1, 1)
        padded = window_seen(self.window, self.unrolled).pad(x)
        y = np.zeros((n, o, rows, columns), dtype=x.dtype)
        for i, j, r, c in window_seen(self.window, self.unrolled).taps(rows, columns):
            if self.depthwise:
                y += padded[:, :, r, c] * weight[None, :, 0, i, j, None, None]
            else:
                y += np.einsum("nchw,oc->nohw", padded[:, :, r, c], weight[:, :, i, j])
        if bias is not None:
            y += bias[None, :, None, None]
        if addend is not None:
            y += addend
        return {"y": clamp(y, self.low, self.high)}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        x, y = request.present("x"), request.present("y")
        tile = DEPTHWISE_TILE if self.depthwise else FORWARD_TILE
        return self.call(
            request,
            {"T": x.dtype, "P": bias_type(request, x.dtype), **request.sums, **tile},
            shape_struct(window_seen(self.window, self.unrolled), x.shape, y.shape),
            {"low": Number(self.low), "high": Number(self.high)},
            VARIANTS[self.signature.template],
        )


def convolution_window(weight: Shape, stride: Sequence[int], padding: Sequence[int]) -> Window:
    """The window of an ATen convolution, whose stride and padding are (height, width)."""
    return Window(
        (weight[2], weight[3]),
        (stride[0], stride[-1]),
        (padding[0], padding[-1], padding[0], padding[-1]),
    )


def is_depthwise(
    x: Shape, weight: Shape, dilation: Sequence[int], transposed: bool, groups: int, where: str
) -> bool:
    """Whether the convolution is depthwise; InputError for what is not supported."""
    remedy = "supported: 2-D convolution with groups=1, or depthwise with groups = channels in = channels out"
    if len(x) != 4:
        raise InputError(f"{where}: {len(x) - 2}-dimensional convolution is not supported; {remedy}")
    if transposed:
        raise InputError(f"{where}: transposed convolution is not supported; {remedy}")
    if any(step != 1 for step in dilation):
        raise InputError(f"{where}: dilation {tuple(dilation)} is not supported; {remedy}")
    if groups == 1:
        return False
    if groups == x[1] and weight[0] == x[1]:
        return True
    raise InputError(f"{where}: {groups} groups over {x[1]} channels are not supported; {remedy}")


@lowers("aten.convolution.default")
def lower_convolution(lowering: Lowering, node: Any) -> None:
    """Forward convolution."""
    x, weight, bias, stride, padding, dilation, transposed, _, groups = node.args
    where = lowering.where(node)
    depthwise = is_depthwise(lowering.shape(x), lowering.shape(weight), dilation, transposed, groups, where)
    window = convolution_window(lowering.shape(weight), stride, padding)
    lowering.set_weight_layout(weight, depthwise)
    bias_name = None if bias is None else lowering.parameter(node, bias)
    operands = {"x": lowering.name(x), "weight": lowering.parameter(node, weight), "bias": bias_name}
    lowering.emit(node, Conv2d(window, depthwise), operands, Role.ACTIVATION)
