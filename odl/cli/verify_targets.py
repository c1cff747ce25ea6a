"""`odl verify --target`: one model on several targets, a column for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from odl.cli.consoles import print_line
from odl.cli.json_file import is_standard_output, write_json
from odl.cli.options import Given

if TYPE_CHECKING:
    from odl.across import Comparison
    from odl.check.verify import Row


def verify_targets(
    model: str,
    targets: str,
    options: Given,
    steps: int,
    accumulated: int,
    seed: int,
    json_file: Path | None,
) -> None:
    """Verify on each target, print the table or write the rows; exit code 1 when one fails."""
    from odl.across import verify_across, wanted_columns
    from odl.rebuild import compiler

    wanted = wanted_columns(targets)
    errors = Console(stderr=True)
    with errors.status("compiling") as status:
        result = verify_across(
            compiler(model, **options),
            wanted,
            all_needed=targets != "all",
            steps=steps,
            accumulated=accumulated,
            seed=seed,
            announce=lambda title: status.update(f"verifying on {title}"),
        )
    write_json(json_file, result.as_json())
    if not is_standard_output(json_file):
        _print(Console(), result)
    if not result.ok:
        raise typer.Exit(1)


def _print(console: Console, result: Comparison) -> None:
    table = Table(
        title="Relative L2 error against float64 PyTorch; =: the bits of the host with as many lanes",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("tensor", overflow="fold")
    table.add_column("bound", justify="right", no_wrap=True)
    for title in result.columns:
        table.add_column(title.replace(", ", "\n"), justify="right", no_wrap=True)
    for tensor, kind in result.keys:
        cells = result.cells((tensor, kind))
        bound = max(row.bound for row in cells.values() if row is not None)
        what = f"{escape(tensor)} [dim]{kind}[/]"
        table.add_row(what, f"{bound:.1e}", *(_cell(row) for row in cells.values()))
    console.print(table)
    for title, report in result.columns.items():
        held = sum(row.ok for row in report.rows)
        compared = [row for row in report.rows if row.bit_exact is not None]
        equal = sum(bool(row.bit_exact) for row in compared)
        bits = f"; bits equal in {equal} of {len(compared)} compared with the host" if compared else ""
        print_line(console, f"{title}: {held} of {len(report.rows)} hold{bits}")
    for title, reason in result.missing.items():
        console.print(f"{title}: [yellow]not here[/]: {escape(reason)}", highlight=False, soft_wrap=True)


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row.bit_exact is False:
        return "[bold red]differ[/]"
    if not row.ok:
        return f"[bold red]{row.rel_l2:.1e}![/]"
    return "=" if row.bit_exact else f"{row.rel_l2:.1e}"
