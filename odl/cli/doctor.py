"""`odl doctor`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def doctor() -> None:
    """Say which targets can run on this machine, and what is missing for the others."""
    from odl.targets.tools import check_all

    table = Table(title="What can run here")
    for column in ("for", "tool", "found", "needed", "how to get it"):
        table.add_column(column)
    for item in check_all():
        mark = f"[green]{item.found}[/]" if item.ok else f"[red]{item.found or 'missing'}[/]"
        table.add_row(item.purpose, item.tool, mark, item.needed, "" if item.ok else item.remedy)
    Console().print(table)
