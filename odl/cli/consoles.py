"""What is printed: texts of users' files and models as they are, whatever brackets they have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

#: Columns of a file or a pipe, which has room for a whole table.
_WIDTH = 120


def table_console(*, stderr: bool) -> Console:
    """A console as wide as the terminal, or as a table wants where there is no terminal to ask."""
    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = _WIDTH
    return console


def print_line(console: Console, text: str) -> None:
    """Print one line as it is: no markup, no highlighting, no break where the terminal ends."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(console: Console, text: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar that goes away when it is done, on a terminal only; call what it gives with how much is done."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(escape(text), total=total)
        yield lambda done: progress.update(task, completed=done)
