"""How a kernel call can be divided into calls on parts of its tensors, for memories that hold only parts.

A tile is a smaller call of the same kernel. No rule here changes the order of any sum: outputs are divided, never the
terms of one output.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Slice:
    """Part of a tensor, in elements: `lines` runs of `line` elements, `stride` apart, the first at `offset`."""

    offset: int
    line: int
    lines: int = 1
    stride: int = 0

    @property
    def count(self) -> int:
        """Elements in all."""
        return self.line * self.lines

    def scaled(self, size: int) -> Slice:
        """The same part in units of a `size`-th of an element (bytes), contiguous lines joined to one."""
        if self.lines == 1 or self.line == self.stride:
            return Slice(self.offset * size, self.count * size)
        return Slice(self.offset * size, self.line * size, self.lines, self.stride * size)


@dataclass(frozen=True)
class Tile:
    """The shape of one smaller call, and the part of every operand that the call is given."""

    shape: Mapping[str, int]
    slices: Mapping[str, Slice]


class Tiling(ABC):
    """A rule that divides the calls of one kind of kernel along up to two axes."""

    @abstractmethod
    def limits(self, shape: Mapping[str, int]) -> tuple[int, int]:
        """The most parts along each axis."""

    @abstractmethod
    def tiles(
        self, shape: Mapping[str, int], counts: Mapping[str, int], parts: tuple[int, int]
    ) -> list[Tile]:
        """The tiles for a number of parts along each axis; `counts` has the elements of each operand by its name."""


def outer_runs(shape: Mapping[str, int], field: str, counts: Mapping[str, int], parts: int) -> list[Tile]:
    """Runs of the outermost index, which `field` counts, where every operand has as many elements for each."""
    per = {name: count // shape[field] for name, count in counts.items()}
    return [
        Tile(
            {**shape, field: end - begin},
            {name: Slice(begin * size, (end - begin) * size) for name, size in per.items()},
        )
        for begin, end in ranges(shape[field], parts)
    ]


def ranges(total: int, parts: int, unit: int = 1) -> list[tuple[int, int]]:
    """`total` items in `parts` runs of almost equal length whose ends are multiples of `unit`; never an empty run."""
    units = -(-total // unit)
    parts = min(parts, units)
    cuts = [min(total, unit * (units * part // parts)) for part in range(parts + 1)]
    return list(itertools.pairwise(cuts))


@dataclass(frozen=True)
class FlatTiling(Tiling):
    """Elementwise kernels: all tensors have `count` elements in the same order."""

    def limits(self, shape: Mapping[str, int]) -> tuple[int, int]:
        """Pieces of at least 64 elements."""
        return max(1, shape["count"] // 64), 1

    def tiles(
        self, shape: Mapping[str, int], counts: Mapping[str, int], parts: tuple[int, int]
    ) -> list[Tile]:
        """Runs of elements."""
        return [
            Tile(
                {**shape, "count": end - begin},
                dict.fromkeys(counts, Slice(begin, end - begin)),
            )
            for begin, end in ranges(shape["count"], parts[0], 4)
        ]


@dataclass(frozen=True)
class ChannelTiling(Tiling):
    """Kernels that treat every channel by itself: tensors are [..., channels]."""

    def limits(self, shape: Mapping[str, int]) -> tuple[int, int]:
        """Pairs of channels."""
        return -(-shape["channels"] // 2), 1

    def tiles(
        self, shape: Mapping[str, int], counts: Mapping[str, int], parts: tuple[int, int]
    ) -> list[Tile]:
        """Runs of channels."""
        channels = shape["channels"]
        return [
            Tile(
                {**shape, "channels": end - begin},
                {
                    name: Slice(begin, end - begin, count // channels, channels)
                    for name, count in counts.items()
                },
            )
            for begin, end in ranges(channels, parts[0], 2)
        ]


@dataclass(frozen=True)
class ConvolutionTiling(Tiling):
    """Convolutions: rows of the output map (weight gradients: input channels), then output channels.

    Operands: forward x, w, bias, addend, y; input gradient dy, w, addend, mask, dx; weight gradient x, dy, dw.
    Shapes as the kernels': maps [batch][h][w][c], weights [out_c][kernel_h][kernel_w][in_c], depthwise weights
    [kernel_h][kernel_w][c]. A batch is divided into images before images are into rows.
    """

    kind: Literal["forward", "input_gradient", "weight_gradient"]
    depthwise: bool = False

    def limits(self, shape: Mapping[str, int]) -> tuple[int, int]:
        """Single rows; pairs of channels."""
        out_pairs, in_pairs = -(-shape["out_c"] // 2), -(-shape["in_c"] // 2)
        if self.kind == "weight_gradient":
            return (1 if self.depthwise else in_pairs), out_pairs
        if self.kind == "input_gradient":
            return shape["batch"] * shape["in_h"], in_pairs
        lowest = (shape["out_h"] - 1) * shape["stride_h"] - shape["pad_top"]
        rows = shape["out_h"] if lowest < shape["in_h"] else 1  # a band needs a row of input
        return shape["batch"] * rows, out_pairs

    def tiles(
        self, shape: Mapping[str, int], counts: Mapping[str, int], parts: tuple[int, int]
    ) -> list[Tile]:
        """Channels outside, rows inside, so that a tile's weights stay while its rows pass."""
        if self.kind == "weight_gradient":
            made = self._weight_gradient(shape, parts)
        else:
            channels = shape["out_c" if self.kind == "forward" else "in_c"]
            bands = self._bands(shape, parts[0])
            cuts = ranges(channels, parts[1], 2)
            make = self._forward if self.kind == "forward" else self._input_gradient
            made = [make(shape, band, cut) for cut in cuts for band in bands]
        return [
            Tile(tile.shape, {name: part for name, part in tile.slices.items() if name in counts})
            for tile in made
        ]

    def _bands(self, shape: Mapping[str, int], parts: int) -> list[tuple[int, int, int, int]]:
        """(first image, images, first row, end row) of each band of the output map."""
        batch, rows = shape["batch"], shape["out_h" if self.kind == "forward" else "in_h"]
        if parts <= batch:
            return [(begin, end - begin, 0, rows) for begin, end in ranges(batch, parts)]
        per_image = -(-parts // batch)
        return [(image, 1, begin, end) for image in range(batch) for begin, end in ranges(rows, per_image)]

    def _forward(
        self, shape: Mapping[str, int], band: tuple[int, int, int, int], cut: tuple[int, int]
    ) -> Tile:
        image, images, begin, end = band
        stride, pad = shape["stride_h"], shape["pad_top"]
        first = max(0, begin * stride - pad)
        last = max(first + 1, min(shape["in_h"], (end - 1) * stride - pad + shape["kernel_h"]))
        if end - begin == shape["out_h"]:  # whole images, perhaps several: all their rows
            first, last = 0, shape["in_h"]
        channels = cut[1] - cut[0]
        tile = {
            **shape,
            "batch": images,
            "in_h": last - first,
            "out_h": end - begin,
            "out_c": channels,
            "pad_top": pad - begin * stride + first,
        }
        if self.depthwise:
            tile["in_c"] = channels
        source = _map(
            shape["in_h"], shape["in_w"], shape["in_c"], image, images, first, last,
            cut if self.depthwise else (0, shape["in_c"]),
        )  # fmt: skip
        result = _map(shape["out_h"], shape["out_w"], shape["out_c"], image, images, begin, end, cut)
        slices = {"x": source, "w": self._weight(shape, cut, "out"), "bias": Slice(cut[0], channels)}
        return Tile(tile, slices | {"addend": result, "y": result})

    def _input_gradient(
        self, shape: Mapping[str, int], band: tuple[int, int, int, int], cut: tuple[int, int]
    ) -> Tile:
        image, images, begin, end = band
        stride, pad, kernel = shape["stride_h"], shape["pad_top"], shape["kernel_h"]
        outputs = shape["out_h"]
        first = max(0, -(-(begin + pad - kernel + 1) // stride))
        first = min(first, (begin + pad) // stride, outputs - 1)
        last = max(first + 1, min(outputs, (end - 1 + pad) // stride + 1))
        if end - begin == shape["in_h"]:
            first, last = 0, outputs
        channels = cut[1] - cut[0]
        tile = {
            **shape,
            "batch": images,
            "in_h": end - begin,
            "out_h": last - first,
            "in_c": channels,
            "pad_top": begin + pad - first * stride,
        }
        if self.depthwise:
            tile["out_c"] = channels
        gradient = _map(
            outputs, shape["out_w"], shape["out_c"], image, images, first, last,
            cut if self.depthwise else (0, shape["out_c"]),
        )  # fmt: skip
        result = _map(shape["in_h"], shape["in_w"], shape["in_c"], image, images, begin, end, cut)
        slices = {"dy": gradient, "w": self._weight(shape, cut, "in")}
        return Tile(tile, slices | {"addend": result, "mask": result, "dx": result})

    def _weight_gradient(self, shape: Mapping[str, int], parts: tuple[int, int]) -> list[Tile]:
        tiles = []
        batch = shape["batch"]
        for out_cut in ranges(shape["out_c"], parts[1], 2):
            in_cuts = [out_cut] if self.depthwise else ranges(shape["in_c"], parts[0], 2)
            for in_cut in in_cuts:
                tile = {**shape, "in_c": in_cut[1] - in_cut[0], "out_c": out_cut[1] - out_cut[0]}
                x = _map(shape["in_h"], shape["in_w"], shape["in_c"], 0, batch, 0, shape["in_h"], in_cut)
                dy = _map(
                    shape["out_h"], shape["out_w"], shape["out_c"], 0, batch, 0, shape["out_h"], out_cut
                )
                dw = (
                    self._weight(shape, out_cut, "out")
                    if self.depthwise
                    else _weight_block(shape, out_cut, in_cut)
                )
                tiles.append(Tile(tile, {"x": x, "dy": dy, "dw": dw}))
        return tiles

    def _weight(self, shape: Mapping[str, int], cut: tuple[int, int], side: str) -> Slice:
        if self.depthwise:
            taps = shape["kernel_h"] * shape["kernel_w"]
            return Slice(cut[0], cut[1] - cut[0], taps, shape["out_c"])
        if side == "out":
            return _weight_block(shape, cut, (0, shape["in_c"]))
        return _weight_block(shape, (0, shape["out_c"]), cut)


def _map(
    height: int,
    width: int,
    channels: int,
    image: int,
    images: int,
    begin: int,
    end: int,
    cut: tuple[int, int],
) -> Slice:
    """Rows [begin, end) of a map's images; several images only with all their rows."""
    offset = (image * height + begin) * width * channels + cut[0]
    return Slice(offset, cut[1] - cut[0], images * (end - begin) * width, channels)


def _weight_block(shape: Mapping[str, int], out_cut: tuple[int, int], in_cut: tuple[int, int]) -> Slice:
    taps = shape["kernel_h"] * shape["kernel_w"]
    lines = (out_cut[1] - out_cut[0]) * taps
    return Slice(out_cut[0] * taps * shape["in_c"] + in_cut[0], in_cut[1] - in_cut[0], lines, shape["in_c"])


FLAT = FlatTiling()
CHANNELS = ChannelTiling()
