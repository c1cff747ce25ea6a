"""`odl verify`: a project by itself, or with --target one model on several targets, a column for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from odl.cli.consoles import print_line, progress_bar
from odl.cli.json_file import check_json_file, is_standard_output, write_json
from odl.cli.options import BuildName, Given, JsonFile, RegisterBits, Seed, takes_options
from odl.errors import InputError, on_command_line, option
from odl.targets import TARGETS

if TYPE_CHECKING:
    from odl.across import Comparison
    from odl.check.report import Report, Row


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
    check_json_file(json_file)
    found: Any
    if target is not None:
        if build is not None or vlen is not None or model is not None:
            raise InputError("--target decides where to run; leave out --build, --vlen and --model")
        found = _across(str(directory), target, options, steps or 1, accumulated, seed)
    else:
        for name, value in options.items():
            raise InputError(f"{option(name, value)} goes with --target; a project has its own already")
        found = _alone(
            directory, steps or 3, build=build, vlen=vlen, model=model, accumulated=accumulated, seed=seed
        )
    write_json(json_file, found.as_json())
    if not is_standard_output(json_file):
        (_print_report if target is None else _print_comparison)(found)
    if not found.ok:
        raise typer.Exit(1)


def _alone(directory: Path, steps: int, **chosen: Any) -> Report:
    from odl.rebuild import verify_directory

    with progress_bar(Console(stderr=True), "verifying", steps) as done:
        return verify_directory(directory, steps=steps, progress=lambda step, total: done(step), **chosen)


def _across(model: str, targets: str, options: Given, steps: int, accumulated: int, seed: int) -> Comparison:
    from odl.across import verify_across, wanted_columns
    from odl.rebuild import compiler

    wanted = wanted_columns(targets)
    with Console(stderr=True).status("compiling") as status:
        return verify_across(
            compiler(model, **options),
            wanted,
            all_needed=targets != "all",
            steps=steps,
            accumulated=accumulated,
            seed=seed,
            announce=lambda title: status.update(f"verifying on {title}"),
        )


def _print_report(report: Report) -> None:
    console = Console()
    table = Table(title="Relative L2 error against float64 PyTorch")
    table.add_column("tensor")
    table.add_column("kind")
    table.add_column("error", justify="right")
    table.add_column("bound", justify="right")
    compared = report.with_bits
    halves = any(row.underflow is not None for row in report.rows)
    if halves:
        table.add_column("subnormal", justify="right")
    if compared:
        table.add_column("bits")
    table.add_column("")
    for row in report.rows:
        mark = "[green]ok[/]" if row.ok else "[bold red]FAILED[/]"
        bits = [{True: "equal", False: "[bold red]differ[/]", None: ""}[row.bit_exact]] if compared else []
        share = ["" if row.underflow is None else f"{row.underflow:.0%}"] if halves else []
        numbers = f"{row.rel_l2:.2e}", f"{row.bound:.2e}"
        table.add_row(escape(row.tensor), row.kind, *numbers, *share, *bits, mark)
    console.print(table)
    for note in report.notes:
        print_line(console, on_command_line(note))
    failed = sum(not row.ok for row in report.rows)
    worst = report.worst
    print_line(
        console,
        f"{len(report.rows) - failed} of {len(report.rows)} hold; worst: {worst.kind} of {worst.tensor}, "
        f"{worst.rel_l2:.2e} of {worst.bound:.2e} allowed",
    )
    if compared:
        equal = sum(bool(row.bit_exact) for row in compared)
        print_line(console, f"{equal} of {len(compared)} compared with the host are equal in every bit")


def _print_comparison(result: Comparison) -> None:
    console = Console()
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
        compared = report.with_bits
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
