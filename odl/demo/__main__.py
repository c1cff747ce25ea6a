"""`python -m odl.demo`: both deployments, a table, exit code 1 when a claim does not hold."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from odl.demo.deployment import Outcome, Scenario, run
from odl.demo.scenarios import SCENARIOS
from odl.errors import InputError, OdlError


def demo(
    network: Annotated[str, typer.Option(help="resnet8, dscnn or all.")] = "all",
    seed: Annotated[int, typer.Option(help="Seed of data, pretraining and order.")] = 0,
) -> None:
    """Pretrain two networks on an easy domain and let the generated C adapt them to a harder one."""
    chosen = [scenario for scenario in SCENARIOS if network in (scenario.network, "all")]
    if not chosen:
        raise InputError(f"--network {network}: must be resnet8, dscnn or all")
    console = Console()
    outcomes = [_run_one(console, scenario, seed) for scenario in chosen]
    console.print(_table(outcomes))
    problems = [f"{outcome.scenario.network}: {text}" for outcome in outcomes for text in outcome.problems()]
    for text in problems:
        console.print(f"[bold red]{text}[/]")
    if problems:
        raise typer.Exit(1)
    console.print("The generated C adapts both as PyTorch does: within 1 point, at least 88 % after.")


def _run_one(console: Console, scenario: Scenario, seed: int) -> Outcome:
    console.rule(scenario.network)
    console.print(scenario.story)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, object] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                _finish(progress)
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done, total=total)  # type: ignore[arg-type]

        outcome = run(scenario, seed, report)
        _finish(progress)
    return outcome


def _finish(progress: Progress) -> None:
    for task in progress.tasks:
        progress.update(task.id, completed=task.total)
        progress.stop_task(task.id)


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(title="Accuracy on the new domain's test set")
    for heading in (
        "network",
        "on the easy domain",
        "before",
        "after, C mixed",
        "after, PyTorch",
        "difference",
    ):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    table.add_column("memory", justify="right")
    table.add_column("ms per sample C / PyTorch", justify="right")
    for outcome in outcomes:
        steps = outcome.scenario.recipe.steps
        table.add_row(
            outcome.scenario.network,
            f"{100 * outcome.easy_accuracy:.1f} %",
            f"{100 * outcome.before:.1f} %",
            f"{100 * outcome.device:.1f} %",
            f"{100 * outcome.pytorch:.1f} %",
            f"{100 * (outcome.device - outcome.pytorch):+.2f}",
            f"{outcome.arena_bytes / 1000:.0f} KB",
            f"{1000 * outcome.device_seconds / steps:.1f} / {1000 * outcome.pytorch_seconds / steps:.1f}",
        )
    return table


def main() -> None:
    """Run, with errors as one line."""
    try:
        typer.run(demo)
    except OdlError as error:
        Console(stderr=True, soft_wrap=True).print(f"odl: {error}", markup=False)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
