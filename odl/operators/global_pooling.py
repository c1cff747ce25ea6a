"""Global average pooling, also as a mean, and its gradient. Shapes: x [N,C,H,W] or [N,C,L], y with ones or [N,C]."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.errors import InputError
from odl.graph import Array, Shape
from odl.kernels.signature import LAYOUT_SHAPE, Kernel, Operand, written
from odl.kernels.tiling import CHANNELS
from odl.operators.base import KernelRequest, Operator, sizes_of
from odl.operators.lowering import Expanded, Lowering, arguments, lowers

GLOBAL_AVERAGE_POOL = Kernel(
    "global_average_pool", LAYOUT_SHAPE, (Operand("x", "T"), written("y", "T")), tiling=CHANNELS
)
GLOBAL_AVERAGE_POOL_GRADIENT = Kernel(
    "global_average_pool_gradient", LAYOUT_SHAPE, (Operand("dy", "T"), written("dx", "T")), tiling=CHANNELS
)


@dataclass(frozen=True)
class GlobalAveragePool(Operator):
    """Mean over all axes behind the channels; input x, output [N,C,1,1] or [N,C]."""

    signature: ClassVar[Kernel] = GLOBAL_AVERAGE_POOL
    keep: bool = True

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        n, c, *behind = inputs["x"]
        return {"y": (n, c, *([1] * len(behind) if self.keep else []))}

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        return {"y": x.mean(axis=tuple(range(2, x.ndim)), keepdims=self.keep)}


@dataclass(frozen=True)
class GlobalAveragePoolGradient(Operator):
    """dx = dy / (H W), or dy / L, everywhere; input dy."""

    pass_name: ClassVar[str] = "input_gradient"
    signature: ClassVar[Kernel] = GLOBAL_AVERAGE_POOL_GRADIENT
    input_shape: Shape

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"dx": self.input_shape}

    @override
    def reference(self, *, dy: Array) -> dict[str, Array]:
        n, c, *behind = self.input_shape
        share = dy.reshape(n, c, *[1] * len(behind)) / math.prod(behind)
        return {"dx": np.broadcast_to(share, self.input_shape).astype(dy.dtype)}

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        return sizes_of(self.input_shape)


@lowers("aten.mean.dim")
def lower_mean(lowering: Lowering, node: Any) -> None:
    """Mean over height and width, or over a sequence."""
    x, axes, keep = arguments(node.args, None, None, False)
    rank = len(lowering.shape(x))
    if rank not in (3, 4) or sorted(axis % rank for axis in axes) != list(range(2, rank)):
        raise InputError(f"{lowering.where(node)}: only the mean over height and width is supported")
    lowering.emit(node, GlobalAveragePool(keep), {"x": x})


@lowers("aten._adaptive_avg_pool2d.default", "aten.adaptive_avg_pool2d.default")
def lower_adaptive_average_pool(lowering: Lowering, node: Any) -> None:
    """Adaptive pooling to 1x1."""
    x, size = node.args[:2]
    if list(size) != [1, 1]:
        raise InputError(
            f"{lowering.where(node)}: adaptive pooling is supported to 1x1 only, got {list(size)}"
        )
    lowering.emit(node, GlobalAveragePool(), {"x": x})


@lowers("aten._adaptive_avg_pool2d_backward.default")
def lower_adaptive_average_pool_backward(lowering: Lowering, node: Any) -> None:
    """Gradient of adaptive pooling to 1x1."""
    dy, x = node.args[:2]
    lowering.emit(node, GlobalAveragePoolGradient(lowering.shape(x)), {"dy": dy})


@lowers("aten.expand.default", part=True)
def lower_expand(lowering: Lowering, node: Any) -> None:
    """A broadcast, which only the gradient of a mean takes up."""
    lowering.set(node, Expanded(lowering.name(node.args[0]), lowering.shape(node)))


@lowers("aten.div.Scalar", part=True)
def lower_division(lowering: Lowering, node: Any) -> None:
    """The gradient of a mean over height and width: a broadcast divided by H W."""
    operand, divisor = lowering.operand(node.args[0]), float(node.args[1])
    if isinstance(operand, Expanded) and len(operand.shape) in (3, 4):
        before = lowering.values[operand.name].shape
        n, c, *behind = operand.shape
        if divisor == math.prod(behind) and before == (n, c, *[1] * len(behind)):
            lowering.emit(node, GlobalAveragePoolGradient(operand.shape), {"dy": operand.name})
            return
    raise InputError(f"{lowering.where(node)}: division is not supported")
