"""The analytic cost model: what a kernel call takes, from its shape and register tile alone.

A call takes as long as its busiest core. The model walks over that core's share as the kernel does and counts
  loads, multiplies  instructions of inner loops: in a step of a tile of a x b, a + b and a * b
  rows               instructions between inner loops: jumps of the tile's pointers, loop counters
  tiles, lines       register tiles of a x b that are begun, and their a's: each line has pointers of its own
  results            vectors that are finished and stored
  carries            sums carried to fp32, in chunked kernels
  regions            parts of the map whose windows are clipped alike, times blocks of channels
  code               size of the different tiles' code, which is fetched for the first time in every call
and weighs the counts with cycles that were fitted to measurements, one set for each kind of kernel (cost.json;
odl/tune/fit.py). What the model leaves out: conflicts between banks, misses of the instruction cache and FPU stalls, as
far as they are not proportional to one of the counts.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources

from odl.kernels.call import KernelCall, Variant
from odl.kernels.signature import Kernel
from odl.operators.convolution import CONV2D_FORWARD, DEPTHWISE_FORWARD
from odl.operators.convolution_gradients import (
    CONV2D_INPUT_GRADIENT,
    CONV2D_WEIGHT_GRADIENT,
    DEPTHWISE_INPUT_GRADIENT,
    DEPTHWISE_WEIGHT_GRADIENT,
)
from odl.tune import depthwise, geometry

TERMS = ("call", "loads", "multiplies", "rows", "tiles", "lines", "results", "carries", "regions", "code")
Counts = Mapping[str, float]
#: Instructions of a tile's function that finds nothing to do.
_ENTRY = 8

#: Cycles of each count where none were fitted: every instruction one, the rest by counting the C by hand.
UNFITTED = {
    "call": 1500.0, "loads": 1.2, "multiplies": 1.0, "rows": 1.1, "tiles": 30.0, "results": 20.0, "carries": 4.0,
    "lines": 10.0, "regions": 100.0, "code": 10.0,
}  # fmt: skip


@functools.cache
def fitted() -> Mapping[str, Counts]:
    """Cycles of each count, by kind of kernel."""
    text = (resources.files("odl.tune") / "cost.json").read_text(encoding="utf-8")
    weights: Mapping[str, Counts] = json.loads(text)
    return weights


def kind_of(call: KernelCall) -> str:
    """Kernels of one kind share their weights: template and arithmetic."""
    carried = " chunked" if call.context.get("chunked") else ""
    return f"{call.kernel.template} {call.context.get('T')}{carried}"


def predict(call: KernelCall, cores: int) -> float | None:
    """Cycles of a call as its context says, None for a kernel that the model does not know."""
    counts = counts_of(call, cores)
    return None if counts is None else weigh(counts, weights_of(call))


def weights_of(call: KernelCall) -> Counts:
    """The weights for this kind of kernel; those of the template's plain fp16 kernels where none were fitted."""
    return fitted().get(kind_of(call)) or fitted().get(f"{call.kernel.template} f16") or UNFITTED


def weigh(counts: Counts, weights: Counts) -> float:
    """Cycles of counts."""
    return sum(weights[term] * counts.get(term, 0.0) for term in TERMS)


def fastest(call: KernelCall, cores: int) -> Variant | None:
    """The variant that the model takes for the fastest, the earliest of equals; None where it does not know."""
    predicted = [(predict(call.with_variant(variant), cores), variant) for variant in call.variants]
    known = [(cycles, variant) for cycles, variant in predicted if cycles is not None]
    if not known or len(known) < len(predicted):
        return None
    return min(known, key=lambda item: item[0])[1]


def counts_of(call: KernelCall, cores: int, weights: Counts | None = None) -> Counts | None:
    """The counts of the core that is the busiest by these weights; None for a kernel that the model does not know."""
    walk = _WALKS.get(call.kernel)
    if walk is None:
        return None
    weights = weights or weights_of(call)
    per_core = [_with_call(walk(call, core, cores)) for core in range(cores)]
    return max(per_core, key=lambda counts: weigh(counts, weights))


def _with_call(counts: Counter[str]) -> Counts:
    code = sum(counts[name] for name in counts if " x " in name)
    return {**{term: float(counts[term]) for term in TERMS}, "call": 1.0, "code": float(code)}


def _chunks(call: KernelCall, rows: int, terms: int) -> int:
    """Chunks of a sum of `rows` runs of `terms`."""
    chunk = call.number("chunk") if call.context.get("chunked") else 0
    if not chunk or not rows or not terms:
        return 0
    return -(-rows // (chunk // terms)) if terms <= chunk else rows * -(-terms // chunk)


def _add_tiles(
    counts: Counter[str], call: KernelCall, tile: tuple[int, int], many: int, runs: tuple[int, int]
) -> None:
    """Tiles of a x b, `many` of them, whose inner loops are `runs` = (loops, steps in each)."""
    a, b = tile
    if not many:  # its function is called all the same
        counts[f"{a} x {b}"] = counts[f"{a} x {b}"] or _ENTRY
        return
    loops, steps = runs
    counts["loads"] += many * loops * steps * (a + b)
    # A lone product waits for its operands.
    counts["multiplies"] += many * loops * steps * (a * b + (a * b == 1))
    counts["rows"] += many * loops * (a + 5)
    counts["tiles"] += many
    counts["lines"] += many * a
    counts["results"] += many * a * b
    counts["carries"] += many * _chunks(call, loops, steps) * a * b
    counts[f"{a} x {b}"] = a * b + a + b


#: (count, taps) of runs of outputs, or of inputs, whose windows are alike.
Runs = Iterable[tuple[int, int]]


def _pixel_tiles(
    call: KernelCall,
    images: Iterable[tuple[int, int]],
    down: Callable[[int, int], Runs],
    across: Runs,
    blocks: Sequence[tuple[int, int]],
    inner: Callable[[int, int], tuple[int, int]],
) -> Counter[str]:
    """Tiles of pixels times `blocks` of channels over rows of `images`, whose runs of rows and columns are `down` and
    `across`; `inner` gives the inner loops of a window of so many rows and columns."""
    counts: Counter[str] = Counter()
    pixels = call.number("tile_pixels")
    for begin, end in images:
        for (rows, high), (columns, wide) in itertools.product(down(begin, end), across):
            for size, many in geometry.split(rows * columns, (pixels, max(1, pixels // 2), 1)):
                for block, times in blocks:
                    _add_tiles(counts, call, (size, block), many * times, inner(high, wide))
            counts["regions"] += sum(times for _, times in blocks)
    return counts


def _forward(call: KernelCall, core: int, cores: int) -> Counter[str]:
    s, lanes = call.shape, geometry.lanes(str(call.context["T"]))
    channels = call.number("tile_channels")
    share = geometry.share_grid(s["batch"] * s["out_h"], s["out_c"], channels, core, cores)
    return _pixel_tiles(
        call,
        geometry.images(share.rows, s["out_h"]),
        lambda begin, end: geometry.spans(
            begin, end, s["stride_h"], s["pad_top"], s["in_h"], s["kernel_h"], s["out_h"]
        ),
        list(
            geometry.spans(0, s["out_w"], s["stride_w"], s["pad_left"], s["in_w"], s["kernel_w"], s["out_w"])
        ),
        list(geometry.split(len(share.columns), (channels, 1))),
        lambda high, wide: (high, -(-wide * s["in_c"] // lanes)),
    )


def _input_gradient(call: KernelCall, core: int, cores: int) -> Counter[str]:
    s, lanes = call.shape, geometry.lanes(str(call.context["T"]))
    vectors = call.number("tile_inputs")
    share = geometry.share_grid(s["batch"] * s["in_h"], s["in_c"], vectors * lanes, core, cores)
    return _pixel_tiles(
        call,
        geometry.images(share.rows, s["in_h"]),
        lambda begin, end: geometry.alike(begin, end, s["pad_top"], s["kernel_h"], s["stride_h"], s["out_h"]),
        list(geometry.alike(0, s["in_w"], s["pad_left"], s["kernel_w"], s["stride_w"], s["out_w"])),
        list(geometry.split(-(-len(share.columns) // lanes), (vectors, 1))),
        lambda high, wide: (high * wide, s["out_c"]),
    )


def _weight_gradient(call: KernelCall, core: int, cores: int) -> Counter[str]:
    s, lanes = call.shape, geometry.lanes(str(call.context["T"]))
    channels, vectors = call.number("tile_channels"), call.number("tile_inputs")
    block = vectors * lanes
    if s["batch"] * s["out_h"] * s["out_w"] * s["kernel_h"] * s["kernel_w"] == 1 and s["in_c"] % lanes == 0:
        return _products(s["out_c"], s["in_c"] // lanes, core, cores)
    if s["in_c"] in (3, 1) and s["out_c"] % block == 0:  # lanes along out_c
        tiles = [(s["in_c"], vectors)] * (s["out_c"] // block)
    else:
        outs = [size for size, many in geometry.split(s["out_c"], (channels, 1)) for _ in range(many)]
        ins = [vectors] * (s["in_c"] // block) + [1] * -(-(s["in_c"] % block) // lanes)
        tiles = [(out, size) for out in outs for size in ins]
    taps = s["kernel_h"] * s["kernel_w"]
    share = geometry.share_grid(taps, len(tiles), 1, core, cores)
    counts: Counter[str] = Counter()
    for tap in share.rows:
        ky, kx = divmod(tap, s["kernel_w"])
        rows = geometry.valid_outputs(ky, s["pad_top"], s["in_h"], s["stride_h"], s["out_h"])
        columns = geometry.valid_outputs(kx, s["pad_left"], s["in_w"], s["stride_w"], s["out_w"])
        runs = (rows * s["batch"], columns)
        if columns == s["out_w"] and columns * s["stride_w"] == s["in_w"] and s["stride_h"] == 1:
            runs = (s["batch"], rows * columns)  # rows without gaps are one row
        for (out, size), many in Counter(tiles[share.columns.start : share.columns.stop]).items():
            _add_tiles(counts, call, (out, size), many, runs)
        counts["regions"] += 1
    return counts


def _products(rows: int, vectors: int, core: int, cores: int) -> Counter[str]:
    """A weight gradient of a single pixel: rows of products, four or one at a time."""
    counts: Counter[str] = Counter()
    for size, many in geometry.split(len(geometry.dealt(rows, core, cores)), (4, 1)):
        counts["loads"] += many * vectors
        counts["multiplies"] += many * vectors * size
        counts["results"] += many * vectors * size
        counts["tiles"] += many
    return counts


_WALKS: Mapping[Kernel, Callable[[KernelCall, int, int], Counter[str]]] = {
    CONV2D_FORWARD: _forward,
    CONV2D_INPUT_GRADIENT: _input_gradient,
    CONV2D_WEIGHT_GRADIENT: _weight_gradient,
    DEPTHWISE_FORWARD: depthwise.forward,
    DEPTHWISE_INPUT_GRADIENT: depthwise.input_gradient,
    DEPTHWISE_WEIGHT_GRADIENT: depthwise.weight_gradient,
}
#: The kernels that the model knows, by their templates.
KNOWN = {kernel.template: kernel for kernel in _WALKS}
