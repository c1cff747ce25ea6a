"""What `odl bench` prints of a project on GVSoC: cycles, without where they went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from odl.bench.cycles import CycleCount


def print_cycles(console: Console, result: CycleCount, summary: bool) -> None:
    """The whole step, and with it, unless only a summary is wanted, every operator."""
    console.print(
        f"{result.model}, {result.dtype}, GVSoC's pulp-open with {result.cores} core{'s' if result.cores > 1 else ''}; "
        "four FPUs for eight cores, no bank conflicts",
        highlight=False,
        soft_wrap=True,
    )
    if not summary:
        console.print(_table(result))
    console.print(
        f"{result.cycles:,} cycles for {result.macs:,} MACs: {result.mac_per_clk:.2f} MAC/clk, everything counted "
        f"({result.cycles / result.seconds / 1000:.0f} kHz simulated)",
        highlight=False,
        soft_wrap=True,
    )


def _table(result: CycleCount) -> Table:
    table = Table(title="Cycles of a training step")
    table.add_column("node", overflow="ellipsis", max_width=30, no_wrap=True)
    table.add_column("pass", no_wrap=True)
    for heading in ("cycles", "MAC/clk", "share"):
        table.add_column(heading, justify="right")
    for item in result.operators:
        table.add_row(
            item.name,
            item.pass_name.replace("_", " "),
            f"{item.count:,}",
            f"{item.macs / max(1, item.count):.2f}" if item.macs else "",
            f"{100 * item.count / result.cycles:.1f} %",
        )
    return table
