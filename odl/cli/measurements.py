"""What `odl bench` prints of a measured training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from odl.cli.consoles import print_line
from odl.targets import find
from odl.targets.common.session import Unit

if TYPE_CHECKING:
    from odl.bench import Measurement

#: Causes of lost cycles, with what they are called in the table.
_CAUSES = {
    "load_use": "load use",
    "tcdm_conflict": "banks",
    "fpu_stall": "FPU",
    "icache_miss": "icache",
    "branch": "branches",
    "l2_access": "L2",
    "dma_wait": "DMA",
    "barrier": "barrier",
    "sleep": "sleep",
    "multicycle": "multi-cycle",
    "misaligned": "misaligned",
    "other": "other",
}
_SHORT_PASSES = {"input_gradient": "dx", "weight_gradient": "dw", "forward": "fwd"}


#: A rate in a sentence and in a column's heading.
_PER_UNIT = {
    Unit.CYCLES: ("MAC/clk", "MAC/clk"),
    Unit.INSTRUCTIONS: ("MAC per instruction", "MAC/instruction"),
}


def print_measurement(console: Console, result: Measurement, summary: bool) -> None:
    """The whole step, and with it, unless only a summary is wanted, every operator."""
    target = find(result.target).with_isa(result.isa)
    where = target.describe(result.cores, result.machine)
    print_line(console, f"{result.model}, {result.dtype}, {where}")
    if not summary:
        detailed = any(item.stalls for item in result.operators)
        console.print(_causes(result) if detailed else _shares(result))
    figures = (
        f"{result.count:,} {result.unit} for {result.macs:,} MACs: {result.rate:.2f} {_PER_UNIT[result.unit][0]}, "
        "everything counted"
    )
    if result.unit is Unit.CYCLES:
        figures += f" ({result.count / result.seconds / 1000:.0f} kHz simulated)"
    else:
        figures += f". Instructions are not cycles: {target.simulator} has no notion of time."
    print_line(console, figures)


def _shares(result: Measurement) -> Table:
    together = ", all cores together" if result.unit is Unit.INSTRUCTIONS else ""
    table = Table(title=f"{result.unit.capitalize()} of a training step{together}")
    table.add_column("node", overflow="ellipsis", max_width=30, no_wrap=True)
    table.add_column("pass", no_wrap=True)
    for heading in (str(result.unit), _PER_UNIT[result.unit][1], "share"):
        table.add_column(heading, justify="right")
    for item in result.operators:
        table.add_row(
            escape(item.name),
            item.pass_name.replace("_", " "),
            f"{item.count:,}",
            f"{item.rate:.2f}" if item.macs else "",
            f"{100 * item.count / result.count:.1f} %",
        )
    return table


def _causes(result: Measurement) -> Table:
    table = Table(
        title="Cycles of a training step; bound: what limits the node at best, and how near it comes"
    )
    table.add_column("node", overflow="ellipsis", max_width=22, no_wrap=True)
    table.add_column("pass", no_wrap=True)
    for heading in ("cycles", "MAC/clk", "issued"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("bound", no_wrap=True)
    table.add_column("lost to")  # the column that wraps where the terminal is narrow
    for item in result.operators:
        if item.stalls is None or item.bounds is None:
            continue
        total = max(1, sum(item.stalls.values()))
        table.add_row(
            escape(item.name),
            _SHORT_PASSES.get(item.pass_name, item.pass_name),
            f"{item.count:,}",
            f"{item.rate:.2f}" if item.macs else "",
            f"{100 * item.stalls.get('instructions', 0) / total:.0f} %",
            f"{item.bounds.limit} {100 * item.fraction:.0f} %" if item.bounds.limit else "",
            _losses(item.stalls, total),
        )
    return table


def _losses(stalls: Mapping[str, int], total: int) -> str:
    """The two largest causes of cycles in which no instruction was issued, with their shares."""
    largest = sorted(_CAUSES, key=lambda cause: -stalls.get(cause, 0))[:2]
    return ", ".join(
        f"{_CAUSES[cause]} {100 * stalls[cause] / total:.0f} %" for cause in largest if stalls.get(cause, 0)
    )
