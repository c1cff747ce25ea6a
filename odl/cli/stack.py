"""`odl stack`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from odl.cli.consoles import print_line, table_console
from odl.cli.json_file import check_json_file, is_standard_output, write_json
from odl.cli.options import JsonFile

if TYPE_CHECKING:
    from odl.project.manifest import StackEntry


def stack(
    project: Annotated[Path, typer.Argument(help="A project that odl compile wrote.", metavar="DIR")],
    json_file: JsonFile = None,
) -> None:
    """Prove how many bytes of stack each core needs at most, and write them into the project's manifest.json.

    Frames as the target's compiler gives them, summed along the longest path of calls. Refused: recursion, a frame without
    a bound, and a core whose stack is smaller than it may need.
    """
    from odl.stack import record

    check_json_file(json_file)
    console = table_console(stderr=is_standard_output(json_file))
    with console.status("compiling"):
        entry = record(project)
    console.print(_table(entry))
    print_line(console, f"{entry.build} build by {entry.compiler}; written to {project / 'manifest.json'}")
    if entry.outside:
        print_line(console, f"on top comes the need of {', '.join(entry.outside)}, not of this project")
    write_json(json_file, [dataclasses.asdict(entry)])


def _table(entry: StackEntry) -> Table:
    table = Table(title="Stack at most, in bytes")
    table.add_column("from")
    table.add_column("bytes", justify="right")
    for core, size in enumerate(entry.cores):
        table.add_row(f"core {core}, of {entry.reserved:,}", f"{size:,}")
    for name, size in entry.entry_points.items():
        table.add_row(name, f"{size:,}")
    return table
