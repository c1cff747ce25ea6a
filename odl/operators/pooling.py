"""Average and max pooling and their gradients. Shapes: x [N,C,H,W], y [N,C,OH,OW]."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.errors import InputError
from odl.graph import Array, DType, Shape
from odl.kernels.signature import Kernel, Operand, ShapeStruct, written
from odl.kernels.tiling import CHANNELS
from odl.operators.base import KernelRequest, Operator
from odl.operators.lowering import Lowering, arguments, lowers
from odl.operators.window import Window, aten_window

POOL_SHAPE = ShapeStruct(
    "odl_pool_shape",
    ("batch", "in_h", "in_w", "channels", "out_h", "out_w", "kernel_h", "kernel_w", "stride_h", "stride_w",
     "pad_top", "pad_left", "count_include_pad", "divisor_override"),
)  # fmt: skip
AVERAGE_POOL = Kernel("average_pool", POOL_SHAPE, (Operand("x", "T"), written("y", "T")), tiling=CHANNELS)
AVERAGE_POOL_GRADIENT = Kernel(
    "average_pool_gradient", POOL_SHAPE, (Operand("dy", "T"), written("dx", "T")), tiling=CHANNELS
)
MAX_POOL = Kernel(
    "max_pool",
    POOL_SHAPE,
    (Operand("x", "T"), written("y", "T"), written("winner", "u8", optional=True)),
    tiling=CHANNELS,
)
MAX_POOL_GRADIENT = Kernel(
    "max_pool_gradient",
    POOL_SHAPE,
    (Operand("dy", "T"), Operand("winner", "u8"), written("dx", "T")),
    tiling=CHANNELS,
)


@dataclass(frozen=True)
class _Pooling(Operator):
    """A pooling gives outputs of the pooled shape; its gradient has `input_shape`."""

    window: Window
    input_shape: Shape

    @property
    def _output_shape(self) -> Shape:
        n, c, h, w = self.input_shape
        return (n, c, *self.window.output_size(h, w))

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        shape = self._output_shape if self.pass_name == "forward" else self.input_shape
        return dict.fromkeys(self.outputs, shape)

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        divisors = {"count_include_pad": 0, "divisor_override": 0}
        return {**self.window.sizes(self.input_shape, self._output_shape), **divisors}


@dataclass(frozen=True)
class _AveragePooling(_Pooling):
    count_include_pad: bool = True
    divisor: int | None = None

    def _divisors(self) -> Array:
        """Divisor of every window, [OH,OW]."""
        rows, columns = self._output_shape[2:]
        if self.divisor is not None:
            return np.full((rows, columns), float(self.divisor))
        inside = self.window.pad(np.ones((1, 1, *self.input_shape[2:])))
        if self.count_include_pad:
            inside = np.ones_like(inside)
        counts = np.zeros((rows, columns))
        for _, _, r, c in self.window.taps(rows, columns):
            counts += inside[0, 0, r, c]
        return counts

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        divisors = {"count_include_pad": int(self.count_include_pad), "divisor_override": self.divisor or 0}
        return {**super().sizes(request), **divisors}


@dataclass(frozen=True)
class AveragePool(_AveragePooling):
    """PyTorch's avg_pool2d; input x."""

    signature: ClassVar[Kernel] = AVERAGE_POOL

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        padded, y = self.window.pad(x), np.zeros(self._output_shape, dtype=x.dtype)
        for _, _, r, c in self.window.taps(*y.shape[2:]):
            y += padded[:, :, r, c]
        return {"y": y / self._divisors().astype(x.dtype)}


@dataclass(frozen=True)
class AveragePoolGradient(_AveragePooling):
    """Gradient of AveragePool; input dy."""

    pass_name: ClassVar[str] = "input_gradient"
    signature: ClassVar[Kernel] = AVERAGE_POOL_GRADIENT

    @override
    def reference(self, *, dy: Array) -> dict[str, Array]:
        share = dy / self._divisors().astype(dy.dtype)
        padded = self.window.pad(np.zeros(self.input_shape, dtype=dy.dtype))
        for _, _, r, c in self.window.taps(*dy.shape[2:]):
            padded[:, :, r, c] += share
        return {"dx": self.window.crop(padded)}


@dataclass(frozen=True)
class MaxPool(_Pooling):
    """PyTorch's max_pool2d; input x, outputs y and the winner's position in its window (row-major, uint8).

    Without `winners`, which only the gradient reads, y is the only output.
    """

    signature: ClassVar[Kernel] = MAX_POOL
    winners: bool = True

    @property
    @override
    def outputs(self) -> tuple[str, ...]:
        return super().outputs[: 1 + self.winners]

    @override
    def without(self, outputs: Collection[str]) -> MaxPool:
        return replace(self, winners=False) if "winner" in outputs else self

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        if self.window.kernel[0] * self.window.kernel[1] > 256:
            raise ValueError("a max pooling window has more than 256 elements")  # a position is one byte
        return super().shapes(inputs)

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        """The first maximum in row-major order wins."""
        padded = self.window.pad(x, -np.inf)
        taps = self.window.taps(*self._output_shape[2:])
        stack = np.stack([padded[:, :, r, c] for _, _, r, c in taps])
        winner = stack.argmax(axis=0)
        y = np.take_along_axis(stack, winner[None], axis=0)[0]
        return {"y": y, "winner": winner.astype(np.uint8)} if self.winners else {"y": y}


@dataclass(frozen=True)
class MaxPoolGradient(_Pooling):
    """Gradient of MaxPool; inputs dy and the winners' positions."""

    pass_name: ClassVar[str] = "input_gradient"
    signature: ClassVar[Kernel] = MAX_POOL_GRADIENT

    @override
    def reference(self, *, dy: Array, winner: Array) -> dict[str, Array]:
        padded = self.window.pad(np.zeros(self.input_shape, dtype=dy.dtype))
        for i, j, r, c in self.window.taps(*dy.shape[2:]):
            padded[:, :, r, c] += dy * (winner == i * self.window.kernel[1] + j)
        return {"dx": self.window.crop(padded)}


def _window(lowering: Lowering, node: Any, x: Any, given: Sequence[Any], ceil: bool) -> Window:
    """The window of an ATen pooling over x, which is given kernel, stride and padding."""
    kernel, stride, padding = arguments(given, None, [], [0, 0])
    if len(lowering.shape(x)) != 4:
        raise InputError(
            f"{lowering.where(node)}: only pooling of [batch, channels, height, width] is supported"
        )
    if ceil:
        raise InputError(
            f"{lowering.where(node)}: ceil_mode is not supported; leave it out, and a window that does not fit wholly"
        )
    return aten_window(kernel, stride or kernel, padding)


def _average(
    lowering: Lowering, node: Any, x: Any, given: Sequence[Any]
) -> tuple[Window, Shape, bool, int | None]:
    """The fields of an average pooling over x, which is given kernel, stride, padding and what stands behind them."""
    *_, ceil, include, divisor = arguments(given, None, [], [0, 0], False, True, None)
    return _window(lowering, node, x, given[:3], ceil), lowering.shape(x), include, divisor


@lowers("aten.avg_pool2d.default")
def lower_average_pool(lowering: Lowering, node: Any) -> None:
    """avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override)."""
    x, *given = node.args
    lowering.emit(node, AveragePool(*_average(lowering, node, x, given)), {"x": x})


@lowers("aten.avg_pool2d_backward.default")
def lower_average_pool_backward(lowering: Lowering, node: Any) -> None:
    """avg_pool2d_backward(dy, x, kernel, …)."""
    dy, x, *given = node.args
    lowering.emit(node, AveragePoolGradient(*_average(lowering, node, x, given)), {"dy": dy})


@lowers("aten.max_pool2d_with_indices.default")
def lower_max_pool(lowering: Lowering, node: Any) -> None:
    """max_pool2d_with_indices(x, kernel, stride, padding, dilation, ceil_mode)."""
    x, *given = node.args
    *_, dilation, ceil = arguments(given, None, [], [0, 0], [1, 1], False)
    if any(step != 1 for step in dilation):
        raise InputError(f"{lowering.where(node)}: dilation is not supported; use dilation=1")
    operator = MaxPool(_window(lowering, node, x, given[:3], ceil), lowering.shape(x))
    names = lowering.add(node, operator, {"x": x})
    lowering.save(names["winner"], DType.U8)
    lowering.set(node, (names["y"], names["winner"]))


@lowers("aten.max_pool2d_with_indices_backward.default")
def lower_max_pool_backward(lowering: Lowering, node: Any) -> None:
    """max_pool2d_with_indices_backward(dy, x, kernel, stride, padding, dilation, ceil_mode, indices)."""
    dy, x, kernel, stride, padding, _, ceil, winner = node.args
    window = _window(lowering, node, x, (kernel, stride, padding), ceil)
    lowering.emit(node, MaxPoolGradient(window, lowering.shape(x)), {"dy": dy, "winner": winner})
