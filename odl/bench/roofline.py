"""Draws what was measured under what no kernel can beat.

A roofline in the sense of Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for
multicore architectures", CACM 52(4), 2009, with multiply-accumulates for operations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from odl.bench.bounds import DMA_BYTES, WORD, peak_macs
from odl.bench.measure import Measurement, OperatorCount


def plot(results: Sequence[Measurement], file: Path) -> None:
    """A picture of all measured steps: MACs per cycle over MACs per byte of operands, under the roofs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6), constrained_layout=True)
    colours = {"forward": "tab:blue", "input_gradient": "tab:orange", "weight_gradient": "tab:green"}
    markers = "osD^v<>"
    intensities = [intensity for result in results for _, intensity in _points(result)]
    lowest, highest = min(intensities) / 2, max(intensities) * 2
    for result, marker in zip(results, markers * len(results), strict=False):
        for item, intensity in _points(result):
            axes.scatter(
                intensity,
                item.rate,
                s=12 + 240 * item.count / result.count,
                color=colours.get(item.pass_name, "tab:gray"),
                marker=marker,
                alpha=0.7,
                linewidths=0,
            )
        axes.axhline(result.rate, color="black", linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{result.model} {result.dtype}, whole step: {result.rate:.2f} MAC/clk",
            (lowest, result.rate),
            textcoords="offset points",
            xytext=(4, 3),
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    _roofs(axes, results, lowest, highest)
    axes.set_xlabel("multiply-accumulates per byte of operands")
    axes.set_ylabel("multiply-accumulates per cycle")
    axes.set_title(
        f"Training step on {results[0].cores} cores; area of a point: its share of the step's cycles"
    )
    for name, colour in colours.items():
        axes.scatter([], [], color=colour, label=name.replace("_", " "), linewidths=0)
    for result, marker in zip(results, markers * len(results), strict=False):
        axes.scatter([], [], color="black", marker=marker, label=f"{result.model} {result.dtype}")
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _points(result: Measurement) -> Iterator[tuple[OperatorCount, float]]:
    """The nodes that multiply, each with its multiply-accumulates per byte of operands."""
    for item in result.operators:
        if item.macs and item.bounds is not None:
            yield item, item.macs / item.bounds.operand_bytes


def _roofs(axes: Any, results: Sequence[Measurement], lowest: float, highest: float) -> None:
    """FPU peak and load/store bandwidth of the first result's machine, and the DMA engine's bandwidth."""
    peak = max(peak_macs(result.dtype, result.machine) for result in results)
    xs, cores = [lowest, highest], results[0].cores
    for label, bandwidth, style in (
        (f"load/store, {WORD * cores} B per cycle", WORD * cores, "-"),
        (f"DMA, {DMA_BYTES} B per cycle", DMA_BYTES, "--"),
    ):
        knee = peak / bandwidth
        axes.plot(
            [min(lowest, knee), knee], [bandwidth * min(lowest, knee), peak], style, color="gray", label=label
        )
    axes.plot(xs, [peak, peak], color="gray", linewidth=2, label=f"FPUs, {peak} MAC per cycle")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(lowest, highest)
    axes.set_ylim(0.1, peak * 1.5)
