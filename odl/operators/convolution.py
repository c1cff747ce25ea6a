"""Two-dimensional convolution, full and depthwise, and its three gradients.

Shapes: x [N,C,H,W], weight [O,C,KH,KW] (depthwise [C,1,KH,KW]), y [N,O,OH,OW]. Padding is zeros and may differ on
each side; dilation and other groupings are refused with a clear error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.errors import InputError
from odl.graph.ir import DType, Role
from odl.graph.operator import Array, Shape
from odl.kernels.call import KernelCall, Number, register_tiles
from odl.kernels.signature import (
    CHANNEL_SHAPE,
    Direction,
    Kernel,
    Operand,
    Scalar,
    ShapeStruct,
    Specialisation,
)
from odl.kernels.tiling import CHANNELS, ConvolutionTiling
from odl.operators.base import INFINITY, KernelRequest, Operator, clamp
from odl.operators.lowering import Lowering, lowers

CONV2D_SHAPE = ShapeStruct(
    "odl_conv2d_shape",
    ("batch", "in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "kernel_h", "kernel_w", "stride_h", "stride_w",
     "pad_top", "pad_left"),
)  # fmt: skip
_LIMITS = (Scalar("low"), Scalar("high"))
_FORWARD = (
    Operand("x", "T"),
    Operand("w", "T"),
    Operand("bias", "P", optional=True),
    Operand("addend", "T", optional=True),
    Operand("y", "T", Direction.WRITE),
    *_LIMITS,
)
_INPUT_GRADIENT = (
    Operand("dy", "T"),
    Operand("w", "T"),
    Operand("addend", "T", optional=True),
    Operand("mask", "T", optional=True),
    Operand("dx", "T", Direction.WRITE),
    *_LIMITS,
)
_WEIGHT_GRADIENT = (
    Operand("x", "T"),
    Operand("dy", "T"),
    Operand("dw", "G", Direction.WRITE, updated_with="accumulate"),
)


def _forward(template: str, depthwise: bool) -> Kernel:
    tiling = ConvolutionTiling("forward", depthwise)
    return Kernel(template, CONV2D_SHAPE, _FORWARD, (("y", "addend"),), tiling)


def _input_gradient(template: str, depthwise: bool) -> Kernel:
    tiling = ConvolutionTiling("input_gradient", depthwise)
    return Kernel(template, CONV2D_SHAPE, _INPUT_GRADIENT, (("dx", "addend"),), tiling)


def _weight_gradient(template: str, depthwise: bool) -> Kernel:
    tiling = ConvolutionTiling("weight_gradient", depthwise)
    return Kernel(template, CONV2D_SHAPE, _WEIGHT_GRADIENT, (), tiling)


CONV2D_FORWARD = _forward("conv2d_forward", depthwise=False)
CONV2D_INPUT_GRADIENT = _input_gradient("conv2d_input_gradient", depthwise=False)
CONV2D_WEIGHT_GRADIENT = _weight_gradient("conv2d_weight_gradient", depthwise=False)
DEPTHWISE_FORWARD = _forward("depthwise_forward", depthwise=True)
DEPTHWISE_INPUT_GRADIENT = _input_gradient("depthwise_input_gradient", depthwise=True)
DEPTHWISE_WEIGHT_GRADIENT = _weight_gradient("depthwise_weight_gradient", depthwise=True)
CHANNEL_SUM = Kernel(
    "channel_sum",
    CHANNEL_SHAPE,
    (Operand("dy", "T"), Operand("db", "G", Direction.WRITE, updated_with="accumulate")),
    tiling=CHANNELS,
)

#: What the kernels call w is the operators' weight.
_WEIGHT = {"w": "weight"}

#: Register tiles: what one inner loop computes together. They change the speed, never the bits. 4 x 4 fills the
#: registers of a cluster's core: 8 loads feed 16 packed multiply-adds.
FORWARD_TILE = {"tile_pixels": 4, "tile_channels": 4}
INPUT_GRADIENT_TILE = {"tile_pixels": 4, "tile_inputs": 4}
WEIGHT_GRADIENT_TILE = {"tile_channels": 4, "tile_inputs": 4}
DEPTHWISE_TILE = {"tile_pixels": 4}
DEPTHWISE_WEIGHT_GRADIENT_TILE = {"tile_channels": 4}

#: What the tuner chooses from, for each kernel. To add one: `+ (Variant({...}),)`.
VARIANTS = {
    "conv2d_forward": register_tiles(FORWARD_TILE, tile_pixels=(4, 2, 1), tile_channels=(4, 2, 1)),
    "conv2d_input_gradient": register_tiles(
        INPUT_GRADIENT_TILE, tile_pixels=(4, 2, 1), tile_inputs=(4, 2, 1)
    ),
    "conv2d_weight_gradient": register_tiles(
        WEIGHT_GRADIENT_TILE, tile_channels=(4, 2, 1), tile_inputs=(4, 2, 1)
    ),
    "depthwise_forward": register_tiles(DEPTHWISE_TILE, tile_pixels=(4, 2, 1)),
    "depthwise_input_gradient": register_tiles(DEPTHWISE_TILE, tile_pixels=(4, 2, 1)),
    "depthwise_weight_gradient": register_tiles(DEPTHWISE_WEIGHT_GRADIENT_TILE, tile_channels=(4, 2, 1)),
}


@dataclass(frozen=True)
class Window:
    """Geometry shared by a convolution and its gradients; padding is (top, left, bottom, right)."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __str__(self) -> str:
        text = f"{self.kernel[0]}x{self.kernel[1]}"
        if self.stride != (1, 1):
            text += f" stride={self.stride[0]}x{self.stride[1]}"
        if any(self.padding):
            text += " padding=" + ",".join(str(amount) for amount in self.padding)
        return text

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Output height and width; ValueError when the window does not fit once."""
        top, left, bottom, right = self.padding
        rows = (height + top + bottom - self.kernel[0]) // self.stride[0] + 1
        columns = (width + left + right - self.kernel[1]) // self.stride[1] + 1
        if rows < 1 or columns < 1:
            raise ValueError(f"a {self.kernel[0]}x{self.kernel[1]} window does not fit in {height}x{width}")
        return rows, columns

    def taps(self, rows: int, columns: int) -> Iterator[tuple[int, int, slice, slice]]:
        """Each kernel position with the slices of the padded input that it meets."""
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                yield (
                    i,
                    j,
                    slice(i, i + (rows - 1) * self.stride[0] + 1, self.stride[0]),
                    slice(j, j + (columns - 1) * self.stride[1] + 1, self.stride[1]),
                )

    def pad(self, x: Array) -> Array:
        """The input with its zeros around it."""
        top, left, bottom, right = self.padding
        return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))

    def crop(self, padded: Array) -> Array:
        """The inverse of `pad`."""
        top, left, bottom, right = self.padding
        return padded[:, :, top : padded.shape[2] - bottom, left : padded.shape[3] - right]

    def widened(self, padding: Sequence[int]) -> Window:
        """The window with more padding on each side."""
        top, left, bottom, right = (a + b for a, b in zip(self.padding, padding, strict=True))
        return Window(self.kernel, self.stride, (top, left, bottom, right))


def shape_struct(window: Window, x: Shape, y: Shape) -> dict[str, int]:
    """struct odl_conv2d_shape of a window over x [N,C,H,W] that gives y [N,O,OH,OW]."""
    return {
        "batch": x[0],
        "in_h": x[2],
        "in_w": x[3],
        "in_c": x[1],
        "out_h": y[2],
        "out_w": y[3],
        "out_c": y[1],
        "kernel_h": window.kernel[0],
        "kernel_w": window.kernel[1],
        "stride_h": window.stride[0],
        "stride_w": window.stride[1],
        "pad_top": window.padding[0],
        "pad_left": window.padding[1],
    }


def _seen(operator: Conv2d | Conv2dWeightGradient) -> Window:
    """The window that the operator's input is seen through."""
    return Window((1, 1)) if operator.unrolled else operator.window


def _parameter_type(request: KernelRequest, dtype: DType) -> DType:
    """Type that biases have beside activations of a type: fp32 wherever sums are carried to fp32."""
    return DType.F32 if request.chunk is not None else dtype


def _macs(weight: Shape, y: Shape) -> int:
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
    operand_names: ClassVar[Mapping[str, str]] = _WEIGHT

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
        return {"y": (x[0], weight[0], *_seen(self).output_size(x[2], x[3]))}

    @override
    def macs(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> int:
        return _macs(inputs["weight"], outputs["y"])

    @override
    def reference(
        self, *, x: Array, weight: Array, bias: Array | None = None, addend: Array | None = None
    ) -> dict[str, Array]:
        n, o, rows, columns = self.shapes({"x": x.shape, "weight": weight.shape})["y"]
        if self.unrolled:
            weight = weight.transpose(0, 2, 3, 1).reshape(o, -1, 1, 1)
        padded = _seen(self).pad(x)
        y = np.zeros((n, o, rows, columns), dtype=x.dtype)
        for i, j, r, c in _seen(self).taps(rows, columns):
            if self.depthwise:
                y += padded[:, :, r, c] * weight[None, :, 0, i, j, None, None]
            else:
                y += np.einsum("nchw,oc->nohw", padded[:, :, r, c], weight[:, :, i, j])
        if bias is not None:
            y += bias[None, :, None, None]
        if addend is not None:
            y += addend
        return {"y": clamp(y, self.low, self.high)}

    def kernel(self, request: KernelRequest) -> KernelCall:
        """conv2d_forward or depthwise_forward."""
        x, y = request.present("x"), request.present("y")
        tile = DEPTHWISE_TILE if self.depthwise else FORWARD_TILE
        return self.call(
            request,
            {"T": x.dtype, "P": _parameter_type(request, x.dtype), **request.sums, **tile},
            shape_struct(_seen(self), x.shape, y.shape),
            {"low": Number(self.low), "high": Number(self.high)},
            VARIANTS[self.signature.template],
        )


@dataclass(frozen=True)
class Conv2dInputGradient(Operator):
    """dx = (transposed conv(dy, w) + addend) where low < mask < high; inputs dy, w, addend or None, mask or None.

    `mask` is the output of the activation that produced x, `input_shape` the shape of x.
    """

    inputs: ClassVar[tuple[str, ...]] = ("dy", "weight", "addend", "mask")
    outputs: ClassVar[tuple[str, ...]] = ("dx",)
    window: Window
    input_shape: Shape
    depthwise: bool = False
    low: float = -INFINITY
    high: float = INFINITY
    operand_names: ClassVar[Mapping[str, str]] = _WEIGHT

    @property
    @override
    def signature(self) -> Kernel:
        return DEPTHWISE_INPUT_GRADIENT if self.depthwise else CONV2D_INPUT_GRADIENT

    @property
    @override
    def pass_name(self) -> str:
        return "input_gradient"

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dx": self.input_shape}

    @override
    def macs(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> int:
        return _macs(inputs["weight"], inputs["dy"])

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

    def kernel(self, request: KernelRequest) -> KernelCall:
        """conv2d_input_gradient or depthwise_input_gradient."""
        dy, dx = request.present("dy"), request.present("dx")
        tile = DEPTHWISE_TILE if self.depthwise else INPUT_GRADIENT_TILE
        return self.call(
            request,
            {"T": dy.dtype, "P": _parameter_type(request, dy.dtype), **request.sums, **tile},
            shape_struct(self.window, dx.shape, dy.shape),
            {"low": Number(self.low), "high": Number(self.high)},
            VARIANTS[self.signature.template],
        )


@dataclass(frozen=True)
class Conv2dWeightGradient(Operator):
    """dw = sum over output pixels of dy times the window of x; inputs x, dy. `unrolled` as in Conv2d."""

    inputs: ClassVar[tuple[str, ...]] = ("x", "dy")
    outputs: ClassVar[tuple[str, ...]] = ("dw",)
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
    def pass_name(self) -> str:
        return "weight_gradient"

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dw": self.weight_shape}

    @override
    def macs(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> int:
        return _macs(self.weight_shape, inputs["dy"])

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

    def kernel(self, request: KernelRequest) -> KernelCall:
        """conv2d_weight_gradient or depthwise_weight_gradient."""
        x, dy = request.present("x"), request.present("dy")
        context: Specialisation = {
            "T": x.dtype,
            "P": _parameter_type(request, x.dtype),
            "G": request.present("dw").dtype,
            "accumulate": request.accumulate,
            **request.sums,
            **(DEPTHWISE_WEIGHT_GRADIENT_TILE if self.depthwise else WEIGHT_GRADIENT_TILE),
        }
        shape = shape_struct(_seen(self), x.shape, dy.shape)
        return self.call(request, context, shape, variants=VARIANTS[self.signature.template])


@dataclass(frozen=True)
class ChannelSum(Operator):
    """Bias gradient: the sum of dy over everything but the channels, always in fp32; input dy."""

    inputs: ClassVar[tuple[str, ...]] = ("dy",)
    outputs: ClassVar[tuple[str, ...]] = ("db",)
    signature: ClassVar[Kernel] = CHANNEL_SUM

    @property
    @override
    def pass_name(self) -> str:
        return "weight_gradient"

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"db": (inputs["dy"][1],)}

    @override
    def reference(self, *, dy: Array) -> dict[str, Array]:
        return {"db": dy.sum(axis=tuple(axis for axis in range(dy.ndim) if axis != 1))}

    def kernel(self, request: KernelRequest) -> KernelCall:
        """channel_sum."""
        dy, db = request.present("dy"), request.present("db")
        channels = dy.shape[1]
        context: Specialisation = {"T": dy.dtype, "G": db.dtype, "accumulate": request.accumulate}
        return self.call(request, context, {"pixels": dy.count // channels, "channels": channels})


def _window(weight: Shape, stride: Sequence[int], padding: Sequence[int]) -> Window:
    return Window(
        (weight[2], weight[3]),
        (stride[0], stride[-1]),
        (padding[0], padding[-1], padding[0], padding[-1]),
    )


def _is_depthwise(
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
    depthwise = _is_depthwise(lowering.shape(x), lowering.shape(weight), dilation, transposed, groups, where)
    window = _window(lowering.shape(weight), stride, padding)
    lowering.set_weight_layout(weight, depthwise)
    bias_name = None if bias is None else lowering.parameter(node, bias)
    operands = {"x": lowering.name(x), "weight": lowering.parameter(node, weight), "bias": bias_name}
    lowering.emit(node, Conv2d(window, depthwise), operands, Role.ACTIVATION)


@lowers("aten.convolution_backward.default")
def lower_convolution_backward(lowering: Lowering, node: Any) -> None:
    """The three gradients of a convolution, as three nodes."""
    dy, x, weight, _, stride, padding, dilation, transposed, _, groups, wanted = node.args
    where = lowering.where(node)
    weight_shape = lowering.shape(weight)
    depthwise = _is_depthwise(lowering.shape(x), weight_shape, dilation, transposed, groups, where)
    window = _window(weight_shape, stride, padding)
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
