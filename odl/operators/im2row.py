"""im2row: every window of an image as a row, for convolutions whose few input channels make no long dot products.

Chetlur et al., arXiv 1410.0759, section 3.1. Shapes: x [N,C,H,W], y [N,KH*KW*C,OH,OW], a row in the order of a filter in
memory: kernel row, kernel column, channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.graph import Array, Shape
from odl.kernels.signature import Kernel, Operand, written
from odl.kernels.tiling import ConvolutionTiling, Tile, Tiling
from odl.operators.base import KernelRequest, Operator
from odl.operators.window import CONV2D_SHAPE, Window, as_given, as_image

_AS_FORWARD = ConvolutionTiling("forward")


@dataclass(frozen=True)
class Im2RowTiling(Tiling):
    """Bands of output rows, as a convolution divides its output map. Operands: x, y."""

    def limits(self, shape: Mapping[str, int]) -> tuple[int, int]:
        """Single rows."""
        return _AS_FORWARD.limits(shape)[0], 1

    def tiles(
        self, shape: Mapping[str, int], counts: Mapping[str, int], parts: tuple[int, int]
    ) -> list[Tile]:
        """Whole rows of windows."""
        return _AS_FORWARD.tiles(shape, counts, parts)


IM2ROW = Kernel("im2row", CONV2D_SHAPE, (Operand("x", "T"), written("y", "T")), tiling=Im2RowTiling())


@dataclass(frozen=True)
class Im2Row(Operator):
    """The windows of x; input x."""

    signature: ClassVar[Kernel] = IM2ROW
    operand_names: ClassVar[Mapping[str, str]] = {"y": "rows"}
    window: Window

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        x = inputs["x"]
        height, width = self.window.kernel
        rows = (x[0], height * width * x[1], *self.window.output_size(*as_image(x)[2:]))
        return {"rows": as_given(rows, x)}

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        shape = self.shapes({"x": x.shape})["rows"]
        rows, columns = as_image(shape)[2:]
        padded = self.window.pad(x.reshape(as_image(x.shape)))
        taps = [padded[:, :, r, c] for _, _, r, c in self.window.taps(rows, columns)]
        return {"rows": np.concatenate(taps, axis=1).reshape(shape)}

    @override
    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        return self.window.sizes(request.present("x").shape, request.present("rows").shape)
