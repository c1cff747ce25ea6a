"""What the cost model counts in depthwise kernels (odl/tune/cost.py says what the counts are)."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

from odl.kernels.call import KernelCall, Number
from odl.tune import geometry


def forward(call: KernelCall, core: int, cores: int) -> Counter[str]:
    """Columns of a 3x3 window with stride 1 or 2 (depthwise_columns.j2, _2), tiles of pixels for all else."""
    s, stride = call.shape, _columns_stride(call)
    window = s["kernel_h"] * s["kernel_w"]
    per_output = (3 * stride, 9) if stride and _forward_fits(call) else None
    return _map(call, ("out_h", "out_w"), per_output, window, (core, cores))


def input_gradient(call: KernelCall, core: int, cores: int) -> Counter[str]:
    """The same of dx: with stride 2 an element of it meets a quarter of the window on average."""
    s, stride = call.shape, _columns_stride(call)
    window = -(-s["kernel_h"] * s["kernel_w"] // (s["stride_h"] * s["stride_w"]))
    part = stride * stride
    per_output = (Fraction(3, part), Fraction(9, part)) if stride and _input_gradient_fits(call) else None
    return _map(call, ("in_h", "in_w"), per_output, window, (core, cores))


def _map(
    call: KernelCall,
    sides: tuple[str, str],
    per_output: tuple[Fraction | int, Fraction | int] | None,
    window: int,
    share: tuple[int, int],
) -> Counter[str]:
    """A core's share of a map of the sides' height and width: whole vectors in columns, of `per_output` loads and
    multiplies (None: there are no columns), what is left in tiles of pixels that meet `window` taps."""
    s, lanes = call.shape, geometry.lanes(str(call.context["T"]))
    height, width = (s[side] for side in sides)
    counts: Counter[str] = Counter()
    first = 0
    if per_output is not None:
        first = s["in_c"] // lanes * lanes
        core, cores = share
        columns = s["batch"] * len(range(core, first // lanes * width, cores))  # dealt one by one
        outputs = columns * height
        counts["tiles"] += columns
        loads, multiplies = per_output
        counts["loads"] += int(outputs * loads)
        counts["multiplies"] += int(outputs * multiplies)
        counts["results"] += outputs
    if first < s["in_c"]:
        _add_tiles(counts, call, (s["batch"] * height, width), first, window, share)
    return counts


def weight_gradient(call: KernelCall, core: int, cores: int) -> Counter[str]:
    """Rows of three taps (depthwise_rows.j2), single taps for all else."""
    s, lanes = call.shape, geometry.lanes(str(call.context["T"]))
    counts: Counter[str] = Counter()
    stride, first = _columns_stride(call), 0
    end = stride * (s["out_w"] - 1) + 3
    fits = s["in_w"] >= 2 and s["out_w"] >= 2 and s["pad_left"] <= 1 and end <= s["in_w"] + s["pad_left"] + 1
    if stride and fits:
        first = s["in_c"] // lanes * lanes
        vectors = -(-3 * (first // lanes) // cores)  # rows of the window times vectors
        pixels = vectors * s["batch"] * s["out_h"] * s["out_w"]
        counts["loads"] += pixels * (1 + stride)
        counts["multiplies"] += pixels * 3
        counts["rows"] += vectors * s["batch"] * s["out_h"]
        counts["tiles"] += vectors
    if first == s["in_c"]:
        return counts
    vectors = call.number("tile_channels")
    share = geometry.share_plane(
        s["kernel_h"] * s["kernel_w"], s["in_c"] - first, vectors * lanes, core, cores
    )
    pixels = s["batch"] * s["out_h"] * s["out_w"]
    for size, many in geometry.split(-(-len(share.columns) // lanes), (vectors, 1)):
        many *= len(share.rows)
        counts["loads"] += many * pixels * 2 * size
        counts["multiplies"] += many * pixels * size
        counts["rows"] += many * s["batch"] * s["out_h"]
        counts["tiles"] += many
        counts["results"] += many * size
    return counts


def _add_tiles(
    counts: Counter[str],
    call: KernelCall,
    size: tuple[int, int],
    first: int,
    window: int,
    share: tuple[int, int],
) -> None:
    """Rows of pixels at the channels from `first` on, in tiles of pixels that take one vector after the other."""
    s, lanes, most = call.shape, geometry.lanes(str(call.context["T"])), call.number("tile_pixels")
    part = geometry.share_grid(size[0], s["in_c"] - first, lanes, *share)
    rows, vectors = len(part.rows), -(-len(part.columns) // lanes)
    for pixels, many in geometry.split(size[1], range(most, 0, -1)):
        counts["loads"] += rows * vectors * many * window * (pixels + 1)
        counts["multiplies"] += rows * vectors * many * window * pixels
        counts["rows"] += rows * vectors * many * s["kernel_h"]
        counts["lines"] += rows * vectors * many
        counts["tiles"] += rows * many
        counts["results"] += rows * vectors * many * pixels
    counts["regions"] += rows


def _columns_stride(call: KernelCall) -> int:
    """1 or 2, the stride of a 3x3 window that has functions of its own, else 0."""
    s = call.shape
    usual = s["kernel_h"] == s["kernel_w"] == 3 and s["stride_h"] == s["stride_w"] <= 2
    return s["stride_h"] if usual else 0


def _forward_fits(call: KernelCall) -> bool:
    s, (low, high) = call.shape, _limits(call)
    plain = "addend" not in call.tensors and high == math.inf and low in (0.0, -math.inf)
    if s["stride_h"] == 2:
        lead = s["pad_top"] <= 1 and s["pad_left"] <= 1
        inside = 2 * s["out_h"] <= s["in_h"] + s["pad_top"] + 1
        return plain and lead and inside and 2 * s["out_w"] <= s["in_w"] + s["pad_left"] + 1
    return plain and s["pad_top"] <= 2 and s["pad_left"] <= 1 and s["in_w"] >= 2


def _input_gradient_fits(call: KernelCall) -> bool:
    s, given = call.shape, call.tensors
    plain = "addend" not in given and ("mask" not in given or _limits(call) == (0.0, math.inf))
    if s["stride_h"] == 2:
        rows, columns = s["in_h"] + s["pad_top"], s["in_w"] + s["pad_left"]
        lead = s["pad_top"] <= 2 and s["pad_left"] <= 2
        high_enough = s["out_h"] >= 2 and 2 * s["out_h"] <= rows + 1 and rows <= 2 * s["out_h"] + 1
        return plain and lead and high_enough and columns <= 2 * s["out_w"] + 1
    return plain and s["pad_top"] <= 2 and 1 <= s["pad_left"] <= 2 and s["out_w"] >= 2


def _limits(call: KernelCall) -> tuple[float, float]:
    """The clamp of the result, or of what the mask was made with."""
    low, high = call.arguments["low"], call.arguments["high"]
    assert isinstance(low, Number) and isinstance(high, Number)
    return float(low.value), float(high.value)
