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
from odl.operators.lowering import Lowering, lowers

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
