"""Plots of a report, as SVG texts and files."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from odl.learn.summary import Row

#: Draws plots by name; a name is a file's too.
Plots = dict[str, Canvas]


def continual_plots(rows: Sequence[Row]) -> Plots:
    """Accuracy matrices, what is left of the first stage, and cost against quality."""
    return {
        "accuracy-matrix": _matrices(rows),
        "forgetting": _curves(
            rows, "stages learned", "accuracy on the first stage, %", lambda row: _mean(row)[:, 0]
        ),
        "cost": _costs(rows, "final", "final accuracy, %"),
    }


def forgetting_plots(rows: Sequence[Row]) -> Plots:
    """Relearning curves beside the retrained networks', and cost against quality."""
    return {"relearning": _relearning(rows), "cost": _costs(rows, "gap", "gap to retrained, points")}


def save(plots: Plots, folder: Path) -> dict[str, str]:
    """Write PNG files into the folder; the plots as SVG, by name."""
    texts: dict[str, str] = {}
    for name, canvas in plots.items():
        canvas.savefig(folder / f"{name}.png", dpi=120)
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None})
        texts[name] = buffer.getvalue()[buffer.getvalue().index("<svg") :]
    return texts


def _label(row: Row) -> str:
    return f"{row.method} ({row.engine})"


def _mean(row: Row) -> np.ndarray:
    return np.asarray(np.mean([result["matrix"] for result in row.results], axis=0))


def _matrices(rows: Sequence[Row]) -> Canvas:
    across = min(4, len(rows))
    down = -(-len(rows) // across)
    canvas = Canvas(figsize=(3.2 * across, 3.1 * down), layout="constrained")
    grid = canvas.subplots(down, across, squeeze=False).flatten()
    for axes in grid[len(rows) :]:
        axes.set_axis_off()
    for axes, row in zip(grid, rows, strict=False):
        matrix = _mean(row)
        axes.imshow(matrix, vmin=0, vmax=100, cmap="viridis")
        for (i, j), value in np.ndenumerate(matrix):
            axes.text(j, i, f"{value:.0f}", ha="center", va="center", color="w" if value < 60 else "k")
        axes.set(title=_label(row), xlabel="tested on stage", ylabel="after stage")
        axes.set_xticks(range(len(matrix)))
        axes.set_yticks(range(len(matrix)))
    return canvas


def _curves(rows: Sequence[Row], across: str, up: str, values: Callable[[Row], np.ndarray]) -> Canvas:
    canvas = Canvas(figsize=(7, 4), layout="constrained")
    axes = canvas.subplots()
    for row in rows:
        axes.plot(values(row), marker="o", label=_label(row))
    axes.set(xlabel=across, ylabel=up)
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    canvas.legend(fontsize="small", loc="outside right upper")
    return canvas


def _costs(rows: Sequence[Row], key: str, up: str) -> Canvas:
    canvas = Canvas(figsize=(9, 4), layout="constrained")
    left, right = canvas.subplots(1, 2, sharey=True)
    for axes, cost, title in ((left, "bytes", "bytes beyond plain training"), (right, "mega_macs", "MMACs")):
        for row in rows:
            _point(axes, row, cost, key)
        axes.set(xlabel=title, xscale="symlog")
        axes.grid(alpha=0.3)
    left.set_ylabel(up)
    right.legend(fontsize="small")
    return canvas


def _point(axes: Axes, row: Row, cost: str, key: str) -> None:
    quality = row.figures[key]
    axes.errorbar(row.figures[cost].mean, quality.mean, yerr=quality.deviation, fmt="o", label=_label(row))


def _relearning(rows: Sequence[Row]) -> Canvas:
    canvas = Canvas(figsize=(8, 4.5), layout="constrained")
    axes = canvas.subplots()
    for row in rows:
        curve = row.results[0]["curve"]
        axes.plot(curve["steps"], curve["accuracy"], label=_label(row))
    for number, curve in enumerate(rows[0].results[0]["retrained_curves"] if rows else ()):
        label = "retrained" if number == 0 else None
        axes.plot(curve["steps"], curve["accuracy"], "k--", alpha=0.6, label=label)
    axes.set(xlabel="relearning steps", ylabel="accuracy on forgotten samples, %", xscale="symlog")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return canvas
