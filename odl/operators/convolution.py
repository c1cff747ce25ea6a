"""Two-dimensional convolution, full and depthwise, forward; convolution_gradients.py has what goes backward.

Shapes: x [N,C,H,W], weight [O,C,KH,KW] (depthwise [C,1,KH,KW]), y [N,O,OH,OW]; sequences [N,C,L] with weights [O,C,K] are
images of one row. Padding is zeros and may differ on each side; dilation and other groupings are refused with a clear
error.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.errors import InputError
from odl.graph import Array, DType, Shape
from odl.kernels.call import Variant, register_tiles
from odl.kernels.signature import Kernel, Operand, Specialisation, written
from odl.kernels.tiling import ConvolutionTiling
from odl.operators.base import INFINITY, LIMITS, KernelRequest, Operator, clamp
from odl.operators.lowering import Lowering, lowers
from odl.operators.window import CONV2D_SHAPE, POINT, Window, as_given, as_image, aten_window

_FORWARD = (
    Operand("x", "T"),
    Operand("w", "T"),
    Operand("bias", "P", optional=True),
    Operand("addend", "T", optional=True),
    written("y", "T"),
    *LIMITS,
)


def _forward(template: str, depthwise: bool) -> Kernel:
    tiling = ConvolutionTiling("forward", depthwise)
    return Kernel(template, CONV2D_SHAPE, _FORWARD, (("y", "addend"),), tiling)


CONV2D_FORWARD = _forward("conv2d_forward", depthwise=False)
DEPTHWISE_FORWARD = _forward("depthwise_forward", depthwise=True)

#: What the tuner chooses from, for each kernel. To add one: `+ (Variant({...}),)`. A register tile is what one inner
#: loop computes together; it changes the speed, never the bits. 4 x 4, which comes first, fills the registers of a
#: cluster's core: 8 loads feed 16 packed multiply-adds.
VARIANTS: Mapping[str, tuple[Variant, ...]] = {
    "conv2d_forward": register_tiles("tile_pixels", "tile_channels"),
    "depthwise_forward": register_tiles("tile_pixels"),
    "conv2d_input_gradient": register_tiles("tile_pixels", "tile_inputs"),
    "depthwise_input_gradient": register_tiles("tile_pixels"),
    "conv2d_weight_gradient": register_tiles("tile_channels", "tile_inputs"),
    "depthwise_weight_gradient": register_tiles("tile_channels"),
}


class ConvolutionPass(Operator):
    """A convolution's or dense layer's forward pass or one of its gradients.

    A dense layer is a 1x1 convolution over one image of N rows of one pixel, which cores can share.
    """

    operand_names: ClassVar[Mapping[str, str]] = {"w": "weight"}

    @property
    @abstractmethod
    def signature(self) -> Kernel:
        """The kernel of the pass."""

    @property
    def seen(self) -> Window:
        """The window through which the kernel sees the input."""
        return POINT

    @property
    @override
    def variants(self) -> tuple[Variant, ...]:
        return VARIANTS[self.signature.template]

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        x, y = (request.value(name) or request.present(f"d{name}") for name in ("x", "y"))
        return self.seen.sizes(_pixels(x.shape), _pixels(y.shape))

    @override
    def specialisation(self, request: KernelRequest) -> Specialisation:
        """How sums are carried; biases are fp32 wherever this is in fp32."""
        x = request.value("x") or request.present("dx")
        bias = x.dtype if request.chunk is None else DType.F32
        return {"P": bias, "chunked": request.chunk is not None, "chunk": request.chunk or 0}

    @override
    def macs(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> int:
        """Output elements times window size times input channels per group, in each of the three passes."""
        shapes = {**inputs, **outputs}
        weight, y = (shapes.get(name) or shapes[f"d{name[0]}"] for name in ("weight", "y"))
        return y[0] * math.prod(y[2:]) * math.prod(weight)


def _pixels(shape: Shape) -> Shape:
    """[N,C] seen as one image of N rows of one pixel, [1,C,N,1]; a sequence as images of one row."""
    return as_image(shape) if len(shape) > 2 else (1, shape[1], shape[0], 1)


class ForwardPass(ConvolutionPass):
    """y = clamp(product of x and weight + bias + addend, low, high); inputs x, weight, bias or None, addend or None."""

    low: float
    high: float

    @abstractmethod
    def product(self, x: Array, weight: Array) -> Array:
        """y without bias, addend and limits."""

    @override
    def reference(
        self, *, x: Array, weight: Array, bias: Array | None = None, addend: Array | None = None
    ) -> dict[str, Array]:
        y = self.product(x, weight)
        if bias is not None:
            y = y + bias.reshape(-1, *(1,) * (y.ndim - 2))
        if addend is not None:
            y = y + addend
        return {"y": clamp(y, self.low, self.high)}


@dataclass(frozen=True)
class Conv2d(ForwardPass):
    """The convolution of x with this window.

    `unrolled`: x is what im2row made of the input with this window, [N,KH*KW*C,OH,OW].
    """

    window: Window
    depthwise: bool = False
    low: float = -INFINITY
    high: float = INFINITY
    unrolled: bool = False

    @property
    @override
    def signature(self) -> Kernel:
        return DEPTHWISE_FORWARD if self.depthwise else CONV2D_FORWARD

    @property
    @override
    def seen(self) -> Window:
        return POINT if self.unrolled else self.window

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        x, weight = inputs["x"], inputs["weight"]
        channels = weight[0] if self.depthwise else math.prod(weight[1:]) if self.unrolled else weight[1]
        if x[1] != channels:
            raise ValueError(f"the input has {x[1]} channels, the weight expects {channels}")
        return {"y": as_given((x[0], weight[0], *self.seen.output_size(*as_image(x)[2:])), x)}

    @override
    def product(self, x: Array, weight: Array) -> Array:
        shape = self.shapes({"x": x.shape, "weight": weight.shape})["y"]
        n, o, rows, columns = as_image(shape)
        x, weight = x.reshape(as_image(x.shape)), weight.reshape(as_image(weight.shape))
        if self.unrolled:
            weight = weight.transpose(0, 2, 3, 1).reshape(o, -1, 1, 1)
        padded, y = self.seen.pad(x), np.zeros((n, o, rows, columns), dtype=x.dtype)
        for i, j, r, c in self.seen.taps(rows, columns):
            if self.depthwise:
                y += padded[:, :, r, c] * weight[None, :, 0, i, j, None, None]
            else:
                y += np.einsum("nchw,oc->nohw", padded[:, :, r, c], weight[:, :, i, j])
        return y.reshape(shape)


def is_depthwise(
    x: Shape, weight: Shape, dilation: Sequence[int], transposed: bool, groups: int, where: str
) -> bool:
    """Whether the convolution is depthwise; InputError for what is not supported."""
    remedy = "supported: 1-D and 2-D convolution with groups=1, or depthwise with groups = channels in = channels out"
    if len(x) not in (3, 4):
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


def convolution_window(weight: Shape, stride: Sequence[int], padding: Sequence[int]) -> Window:
    """The window of an ATen convolution with that weight; of a sequence, in the only row."""
    if len(weight) == 3:
        return aten_window((1, *weight[2:]), (1, *stride), (0, *padding))
    return aten_window(weight[2:], stride, padding)


@lowers("aten.convolution.default")
def lower_convolution(lowering: Lowering, node: Any) -> None:
    """Forward convolution."""
    x, weight, bias, stride, padding, dilation, transposed, _, groups = node.args
    where = lowering.where(node)
    depthwise = is_depthwise(lowering.shape(x), lowering.shape(weight), dilation, transposed, groups, where)
    window = convolution_window(lowering.shape(weight), stride, padding)
    lowering.set_weight_layout(weight, depthwise)
    bias_name = None if bias is None else lowering.parameter(node, bias)
    operands = {"x": x, "weight": lowering.parameter(node, weight), "bias": bias_name}
    lowering.emit(node, Conv2d(window, depthwise), operands)
