"""`odl verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from odl.cli.consoles import print_line, progress_bar
from odl.cli.json_file import check_json_file, is_standard_output, write_json
from odl.cli.options import BuildName, Given, JsonFile, RegisterBits, Seed, takes_options
from odl.cli.verify_targets import verify_targets
from odl.errors import InputError, option
from odl.targets import TARGETS


# dtype: a project's own, and without one what a compilation takes.
@takes_options("dtype", defaults={"dtype": None}, panel="With --target, for a model")
def verify_project(
    directory: Annotated[
        Path, typer.Argument(help="A project that odl compile wrote; with --target a model will do too.")
    ],
    options: Given,
    steps: Annotated[int | None, typer.Option(help="Updates to check; 3, with --target 1.", min=1)] = None,
    accumulated: Annotated[
        int, typer.Option(help="Samples per update, where the project was compiled with --accumulate.", min=1)
    ] = 8,
    build: BuildName = None,
    target: Annotated[
        str | None,
        typer.Option(
            help=f"all, or some of {', '.join(TARGETS)} with commas: compile anew for each and compare every tensor."
        ),
    ] = None,
    vlen: RegisterBits = None,
    model: Annotated[
        str | None, typer.Option(help="The model, if it is not where it was when it was compiled.")
    ] = None,
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Check gradients, updated weights and statistics against float64 PyTorch; exit code 1 when one fails."""
    from odl.rebuild import verify_directory

    check_json_file(json_file)
    if target is not None:
        if build is not None or vlen is not None or model is not None:
            raise InputError("--target decides where to run; leave out --build, --vlen and --model")
        verify_targets(str(directory), target, options, steps or 1, accumulated, seed, json_file)
        return
    for name, value in options.items():
        raise InputError(f"{option(name, value)} goes with --target; a project has its own already")
    steps = steps or 3
    with progress_bar(Console(stderr=True), "verifying", steps) as done:
        report = verify_directory(
            directory,
            build=build,
            vlen=vlen,
            model=model,
            steps=steps,
            accumulated=accumulated,
            seed=seed,
            progress=lambda step, total: done(step),
        )
    write_json(json_file, [row.as_json() for row in report.rows])
    if not is_standard_output(json_file):
        _print(Console(), report)
    if not report.ok:
        raise typer.Exit(1)


def _print(console: Console, report: Any) -> None:
    table = Table(title="Relative L2 error against float64 PyTorch")
    table.add_column("tensor")
    table.add_column("kind")
    table.add_column("error", justify="right")
    table.add_column("bound", justify="right")
    compared = any(row.bit_exact is not None for row in report.rows)
    if compared:
        table.add_column("bits")
    table.add_column("")
    for row in report.rows:
        mark = "[green]ok[/]" if row.ok else "[bold red]FAILED[/]"
        bits = [{True: "equal", False: "[bold red]differ[/]", None: ""}[row.bit_exact]] if compared else []
        table.add_row(escape(row.tensor), row.kind, f"{row.rel_l2:.2e}", f"{row.bound:.2e}", *bits, mark)
    console.print(table)
    failed = sum(not row.ok for row in report.rows)
    worst = report.worst
    print_line(
        console,
        f"{len(report.rows) - failed} of {len(report.rows)} hold; worst: {worst.kind} of {worst.tensor}, "
        f"{worst.rel_l2:.2e} of {worst.bound:.2e} allowed",
    )
    if compared:
        rows = [row for row in report.rows if row.bit_exact is not None]
        equal = sum(bool(row.bit_exact) for row in rows)
        print_line(console, f"{equal} of {len(rows)} compared with the host are equal in every bit")
