"""What no kernel can beat: the FPUs, the cores' load/store units and the DMA engine each need some cycles at least.

A roofline in the sense of Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for
multicore architectures", CACM 52(4), 2009, with multiply-accumulates for operations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odl.targets.cv32e40p import Cluster

if TYPE_CHECKING:
    from odl.bench.measure import Measurement

_WORD = 4
_DMA_BYTES = 8


@dataclass(frozen=True)
class Bounds:
    """Least cycles of one node: `fpu` for its multiply-accumulates, `load_store` for touching every operand once,
    `dma` for the transfers beside it, the two directions at once; those that outlast a node count for the next ones."""

    fpu: int
    load_store: int
    dma: int
    operand_bytes: int

    @property
    def cycles(self) -> int:
        """Cycles that the node takes at least."""
        return max(self.fpu, self.load_store, self.dma)

    @property
    def limit(self) -> str:
        """Which of the three it is: FPU, load/store or DMA; empty where nothing is known."""
        if not self.cycles:
            return ""
        named = (("FPU", self.fpu), ("load/store", self.load_store), ("DMA", self.dma))
        return max(named, key=lambda item: item[1])[0]

    def as_json(self) -> dict[str, int]:
        """The three bounds by name."""
        return {"fpu": self.fpu, "load_store": self.load_store, "dma": self.dma}


def peak_macs(dtype: str, cluster: Cluster) -> int:
    """Multiply-accumulates per cycle of all FPUs: two fp16 lanes each, or one of fp32."""
    return (cluster.fpus or cluster.cores) * (1 if dtype == "fp32" else 2)


def bounds_of(node: Mapping[str, Any], macs: int, dtype: str, cluster: Cluster) -> Bounds:
    """Bounds of a node by its entry in manifest.json; all zero for what is no node."""
    operand_bytes = int(node.get("operand_bytes", 0))
    moved = max(int(node.get("bytes_in", 0)), int(node.get("bytes_out", 0)))
    return Bounds(
        math.ceil(macs / peak_macs(dtype, cluster)),
        math.ceil(operand_bytes / _WORD / cluster.cores),
        math.ceil(moved / _DMA_BYTES),
        operand_bytes,
    )


def plot(results: Sequence[Measurement], file: Path) -> None:
    """A picture of all measured steps: MACs per cycle over MACs per byte of operands, under the roofs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6), constrained_layout=True)
    colours = {"forward": "tab:blue", "input_gradient": "tab:orange", "weight_gradient": "tab:green"}
    markers = "osD^v<>"
    points = [item for result in results for item in result.operators if item.macs]
    lowest = min(item.macs / item.bounds.operand_bytes for item in points) / 2
    highest = max(item.macs / item.bounds.operand_bytes for item in points) * 2
    for result, marker in zip(results, markers * len(results), strict=False):
        for item in (item for item in result.operators if item.macs):
            axes.scatter(
                item.macs / item.bounds.operand_bytes,
                item.mac_per_clk,
                s=12 + 240 * item.cycles / result.cycles,
                color=colours.get(item.pass_name, "tab:gray"),
                marker=marker,
                alpha=0.7,
                linewidths=0,
            )
        axes.axhline(result.mac_per_clk, color="black", linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{result.model} {result.dtype}, whole step: {result.mac_per_clk:.2f} MAC/clk",
            (lowest, result.mac_per_clk),
            textcoords="offset points",
            xytext=(4, 3),
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    _roofs(axes, results, lowest, highest)
    axes.set_xlabel("multiply-accumulates per byte of operands")
    axes.set_ylabel("multiply-accumulates per cycle")
    axes.set_title(
        f"Training step on {results[0].cluster.cores} cores; area of a point: its share of the step's cycles"
    )
    for name, colour in colours.items():
        axes.scatter([], [], color=colour, label=name.replace("_", " "), linewidths=0)
    for result, marker in zip(results, markers * len(results), strict=False):
        axes.scatter([], [], color="black", marker=marker, label=f"{result.model} {result.dtype}")
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _roofs(axes: Any, results: Sequence[Measurement], lowest: float, highest: float) -> None:
    """FPU peak and load/store bandwidth of the first result's machine, and the DMA engine's bandwidth."""
    cluster = results[0].cluster
    peak = max(peak_macs(result.dtype, result.cluster) for result in results)
    xs = [lowest, highest]
    for label, bandwidth, style in (
        (f"load/store, {_WORD * cluster.cores} B per cycle", _WORD * cluster.cores, "-"),
        (f"DMA, {_DMA_BYTES} B per cycle", _DMA_BYTES, "--"),
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
