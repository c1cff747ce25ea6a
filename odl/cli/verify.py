"""`odl verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from odl.cli.json_file import check_json_file, is_standard_output, write_json
from odl.cli.verify_targets import verify_targets
from odl.errors import InputError


def verify_project(
    directory: Annotated[
        Path, typer.Argument(help="A project that odl compile wrote; with --target a model will do too.")
    ],
    steps: Annotated[int | None, typer.Option(help="Updates to check; 3, with --target 1.", min=1)] = None,
    accumulated: Annotated[
        int, typer.Option(help="Samples per update, where the project was compiled with --accumulate.", min=1)
    ] = 8,
    build: Annotated[
        str | None,
        typer.Option(
            help="exact or fast: this machine instead of the target, with the devices' bits or without."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="all, or host, cv32e40p, gvsoc, qemu with commas: compile anew for each and compare every tensor."
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="fp32, fp16 or mixed (default), for a model, with --target.")
    ] = None,
    vlen: Annotated[
        int | None, typer.Option(help="Bits of a vector register on QEMU: 128 (default), 256, 512, 1024.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model, if it is not where it was when it was compiled.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the inputs.", min=0)] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write every row to this file; - for standard output.")
    ] = None,
) -> None:
    """Check gradients, updated weights and statistics against float64 PyTorch; exit code 1 when one fails."""
    from odl.check.project import verify_directory

    check_json_file(json_file)
    if target is not None:
        if build is not None or vlen is not None or model is not None:
            raise InputError("--target decides where to run; leave out --build, --vlen and --model")
        verify_targets(str(directory), target, dtype, steps or 1, accumulated, seed, json_file)
        return
    if dtype is not None:
        raise InputError(f"--dtype {dtype} goes with --target; a project has its precision already")
    steps = steps or 3
    errors = Console(stderr=True)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("verifying", total=steps)
        report = verify_directory(
            directory,
            build=build,
            vlen=vlen,
            model=model,
            steps=steps,
            accumulated=accumulated,
            seed=seed,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
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
        table.add_row(row.tensor, row.kind, f"{row.rel_l2:.2e}", f"{row.bound:.2e}", *bits, mark)
    console.print(table)
    failed = sum(not row.ok for row in report.rows)
    worst = report.worst
    console.print(
        f"{len(report.rows) - failed} of {len(report.rows)} hold; worst: {worst.kind} of {worst.tensor}, "
        f"{worst.rel_l2:.2e} of {worst.bound:.2e} allowed",
        highlight=False,
    )
    if compared:
        rows = [row for row in report.rows if row.bit_exact is not None]
        equal = sum(bool(row.bit_exact) for row in rows)
        console.print(
            f"{equal} of {len(rows)} compared with the host are equal in every bit", highlight=False
        )
