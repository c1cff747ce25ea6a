"""Average and max pooling and their gradients. Shapes: x [N,C,H,W], y [N,C,OH,OW]."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.errors import InputError
from odl.graph.ir import DType, Role
from odl.graph.operator import Array, Shape
from odl.kernels.call import KernelCall
from odl.kernels.signature import Direction, Kernel, Operand, ShapeStruct
from odl.kernels.tiling import CHANNELS
from odl.operators.base import KernelRequest, Operator
from odl.operators.lowering import Lowering, lowers
from odl.operators.window import Window

POOL_SHAPE = ShapeStruct(
    "odl_pool_shape",
    ("batch", "in_h", "in_w", "channels", "out_h", "out_w", "kernel_h", "kernel_w", "stride_h", "stride_w",
     "pad_top", "pad_left", "count_include_pad", "divisor_override"),
)  # fmt: skip
_X, _Y = Operand("x", "T"), Operand("y", "T", Direction.WRITE)
_DY, _DX = Operand("dy", "T"), Operand("dx", "T", Direction.WRITE)
AVERAGE_POOL = Kernel("average_pool", POOL_SHAPE, (_X, _Y), tiling=CHANNELS)
AVERAGE_POOL_GRADIENT = Kernel("average_pool_gradient", POOL_SHAPE, (_DY, _DX), tiling=CHANNELS)
_WINNER = Operand("winner", "u8", Direction.WRITE, optional=True)
MAX_POOL = Kernel("max_pool", POOL_SHAPE, (_X, _Y, _WINNER), tiling=CHANNELS)
MAX_POOL_GRADIENT = Kernel(
    "max_pool_gradient", POOL_SHAPE, (_DY, Operand("winner", "u8"), _DX), tiling=CHANNELS
)


@dataclass(frozen=True)
class _Pooling(Operator):
    window: Window
    input_shape: Shape

    def _output_shape(self) -> Shape:
        n, c, h, w = self.input_shape
        return (n, c, *self.window.output_size(h, w))

    def _shape_struct(self) -> dict[str, int]:
        n, c, h, w = self.input_shape
        _, _, rows, columns = self._output_shape()
        return {
            "batch": n,
            "in_h": h,
            "in_w": w,
            "channels": c,
            "out_h": rows,
            "out_w": columns,
            "kernel_h": self.window.kernel[0],
            "kernel_w": self.window.kernel[1],
            "stride_h": self.window.stride[0],
            "stride_w": self.window.stride[1],
            "pad_top": self.window.padding[0],
            "pad_left": self.window.padding[1],
            "count_include_pad": 0,
            "divisor_override": 0,
        }

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        """The pooling's own."""
        first = next(iter(request.outputs.values()))
        return self.call(request, {"T": first.dtype}, self._shape_struct())


@dataclass(frozen=True)
class _AveragePooling(_Pooling):
    count_include_pad: bool = True
    divisor: int | None = None

    def _divisors(self) -> Array:
        """Divisor of every window, [OH,OW]."""
        _, _, h, w = self.input_shape
        _, _, rows, columns = self._output_shape()
        if self.divisor is not None:
            return np.full((rows, columns), float(self.divisor))
        inside = self.window.pad(np.ones((1, 1, h, w)))
        if self.count_include_pad:
            inside = np.ones_like(inside)
        counts = np.zeros((rows, columns))
        for _, _, r, c in self.window.taps(rows, columns):
            counts += inside[0, 0, r, c]
        return counts

    def _shape_struct(self) -> dict[str, int]:
        divisors = {"count_include_pad": int(self.count_include_pad), "divisor_override": self.divisor or 0}
        return super()._shape_struct() | divisors


@dataclass(frozen=True)
class AveragePool(_AveragePooling):
    """PyTorch's avg_pool2d; input x."""

    inputs: ClassVar[tuple[str, ...]] = ("x",)
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    signature: ClassVar[Kernel] = AVERAGE_POOL

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"y": self._output_shape()}

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        shape = self._output_shape()
        padded, y = self.window.pad(x), np.zeros(shape, dtype=x.dtype)
        for _, _, r, c in self.window.taps(shape[2], shape[3]):
            y += padded[:, :, r, c]
        return {"y": y / self._divisors().astype(x.dtype)}


@dataclass(frozen=True)
class AveragePoolGradient(_AveragePooling):
    """Gradient of AveragePool; input dy."""

    inputs: ClassVar[tuple[str, ...]] = ("dy",)
    outputs: ClassVar[tuple[str, ...]] = ("dx",)
    pass_name: ClassVar[str] = "input_gradient"
    signature: ClassVar[Kernel] = AVERAGE_POOL_GRADIENT

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dx": self.input_shape}

    @override
    def reference(self, *, dy: Array) -> dict[str, Array]:
        share = dy / self._divisors().astype(dy.dtype)
        padded = self.window.pad(np.zeros(self.input_shape, dtype=dy.dtype))
        for _, _, r, c in self.window.taps(dy.shape[2], dy.shape[3]):
            padded[:, :, r, c] += share
        return {"dx": self.window.crop(padded)}


@dataclass(frozen=True)
class MaxPool(_Pooling):
    """PyTorch's max_pool2d; input x, outputs y and the winner's position in its window (row-major, uint8).

    Without `winners`, which only the gradient reads, y is the only output.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x",)
    outputs: ClassVar[tuple[str, ...]] = ("y", "winner")
    signature: ClassVar[Kernel] = MAX_POOL
    winners: bool = True

    @override
    def without(self, outputs: Collection[str]) -> MaxPool:
        return replace(self, winners=False) if "winner" in outputs else self

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        if self.window.kernel[0] * self.window.kernel[1] > 256:
            raise ValueError("a max pooling window has more than 256 elements")  # a position is one byte
        return {name: self._output_shape() for name in self.outputs[: 1 + self.winners]}

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        """The first maximum in row-major order wins."""
        top, left, bottom, right = self.window.padding
        padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=-np.inf)
        shape = self._output_shape()
        taps = [padded[:, :, r, c] for _, _, r, c in self.window.taps(shape[2], shape[3])]
        stack = np.stack(taps)
        winner = stack.argmax(axis=0)
        y = np.take_along_axis(stack, winner[None], axis=0)[0]
        return {"y": y, "winner": winner.astype(np.uint8)} if self.winners else {"y": y}


@dataclass(frozen=True)
class MaxPoolGradient(_Pooling):
    """Gradient of MaxPool; inputs dy and the winners' positions."""

    inputs: ClassVar[tuple[str, ...]] = ("dy", "winner")
    outputs: ClassVar[tuple[str, ...]] = ("dx",)
    pass_name: ClassVar[str] = "input_gradient"
    signature: ClassVar[Kernel] = MAX_POOL_GRADIENT

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dx": self.input_shape}

    @override
    def reference(self, *, dy: Array, winner: Array) -> dict[str, Array]:
        padded = self.window.pad(np.zeros(self.input_shape, dtype=dy.dtype))
        for i, j, r, c in self.window.taps(dy.shape[2], dy.shape[3]):
            padded[:, :, r, c] += dy * (winner == i * self.window.kernel[1] + j)
        return {"dx": self.window.crop(padded)}


def _pool_window(
    lowering: Lowering, node: Any, x: Any, kernel: Any, stride: Any, padding: Any, ceil: bool
) -> Window:
    if len(lowering.shape(x)) != 4:
        raise InputError(
            f"{lowering.where(node)}: only pooling of [batch, channels, height, width] is supported"
        )
    if ceil:
        raise InputError(
            f"{lowering.where(node)}: ceil_mode is not supported; leave it out, and a window that does not fit wholly"
        )
    stride = stride or kernel
    return Window(
        (kernel[0], kernel[-1]),
        (stride[0], stride[-1]),
        (padding[0], padding[-1], padding[0], padding[-1]),
    )


def _arguments(node: Any, start: int, defaults: Sequence[Any]) -> list[Any]:
    given = list(node.args[start:])
    return given + list(defaults[len(given) :])


@lowers("aten.avg_pool2d.default")
def lower_average_pool(lowering: Lowering, node: Any) -> None:
    """avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override)."""
    x = node.args[0]
    kernel, stride, padding, ceil, include, divisor = _arguments(
        node, 1, [None, [], [0, 0], False, True, None]
    )
    window = _pool_window(lowering, node, x, kernel, stride, padding, ceil)
    operator = AveragePool(window, lowering.shape(x), include, divisor)
    lowering.emit(node, operator, {"x": lowering.name(x)}, Role.ACTIVATION)


@lowers("aten.avg_pool2d_backward.default")
def lower_average_pool_backward(lowering: Lowering, node: Any) -> None:
    """avg_pool2d_backward(dy, x, kernel, …)."""
    dy, x = node.args[:2]
    kernel, stride, padding, ceil, include, divisor = _arguments(
        node, 2, [None, [], [0, 0], False, True, None]
    )
    window = _pool_window(lowering, node, x, kernel, stride, padding, ceil)
    operator = AveragePoolGradient(window, lowering.shape(x), include, divisor)
    lowering.emit(node, operator, {"dy": lowering.name(dy)}, Role.GRADIENT)


@lowers("aten.max_pool2d_with_indices.default")
def lower_max_pool(lowering: Lowering, node: Any) -> None:
    """max_pool2d_with_indices(x, kernel, stride, padding, dilation, ceil_mode)."""
    x = node.args[0]
    kernel, stride, padding, dilation, ceil = _arguments(node, 1, [None, [], [0, 0], [1, 1], False])
    if any(step != 1 for step in dilation):
        raise InputError(f"{lowering.where(node)}: dilation is not supported; use dilation=1")
    window = _pool_window(lowering, node, x, kernel, stride, padding, ceil)
    operator = MaxPool(window, lowering.shape(x))
    names = lowering.add(node, operator, {"x": lowering.name(x)}, Role.ACTIVATION)
    lowering.save(names["winner"], DType.U8)
    lowering.set_tuple(node, (names["y"], names["winner"]))


@lowers("aten.max_pool2d_with_indices_backward.default")
def lower_max_pool_backward(lowering: Lowering, node: Any) -> None:
    """max_pool2d_with_indices_backward(dy, x, kernel, stride, padding, dilation, ceil_mode, indices)."""
    dy, x, kernel, stride, padding, _, ceil, indices = node.args
    window = _pool_window(lowering, node, x, kernel, stride, padding, ceil)
    operator = MaxPoolGradient(window, lowering.shape(x))
    operands = {"dy": lowering.name(dy), "winner": lowering.name(indices)}
    lowering.emit(node, operator, operands, Role.GRADIENT)
