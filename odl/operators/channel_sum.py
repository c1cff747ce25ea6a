"""The sum over everything but the channels: the gradient of a convolution's or a dense layer's bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from odl.graph import Array, Shape
from odl.kernels.signature import CHANNEL_SHAPE, Kernel, Operand, written
from odl.kernels.tiling import CHANNELS
from odl.operators.base import Operator

CHANNEL_SUM = Kernel(
    "channel_sum",
    CHANNEL_SHAPE,
    (Operand("dy", "T"), written("db", "G", updated_with="accumulate")),
    tiling=CHANNELS,
)


@dataclass(frozen=True)
class ChannelSum(Operator):
    """Bias gradient: the sum of dy over everything but the channels, always in fp32; input dy."""

    pass_name: ClassVar[str] = "weight_gradient"
    signature: ClassVar[Kernel] = CHANNEL_SUM

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"db": (inputs["dy"][1],)}

    @override
    def reference(self, *, dy: Array) -> dict[str, Array]:
        return {"db": dy.sum(axis=tuple(axis for axis in range(dy.ndim) if axis != 1))}
