"""Where tables are printed."""

from __future__ import annotations

from rich.console import Console

#: Columns of a file or a pipe, which has room for a whole table.
_WIDTH = 120


def table_console(*, stderr: bool) -> Console:
    """A console as wide as the terminal, or as a table wants where there is no terminal to ask."""
    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = _WIDTH
    return console
