"""`python -m odl.demo`: both deployments, a table, exit code 1 when a claim does not hold."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from odl.data import SplitName
from odl.demo.deployment import SCENARIOS, Outcome, Scenario, run
from odl.errors import InputError, OdlError

EVALUATED: tuple[SplitName, ...] = ("test", "validation")


def demo(
    network: Annotated[str, typer.Option(help="resnet8, dscnn or all.")] = "all",
    seed: Annotated[int, typer.Option(help="Seed of data, pretraining and order.", min=0)] = 0,
    split: Annotated[
        str, typer.Option(help="What accuracies are measured on: test, or validation to choose settings.")
    ] = "test",
) -> None:
    """Pretrain two networks on an easy domain and let the generated C adapt them to a harder one."""
    chosen = [scenario for scenario in SCENARIOS if network in (scenario.network, "all")]
    if not chosen:
        raise InputError(f"--network {network}: must be resnet8, dscnn or all")
    evaluated = next((known for known in EVALUATED if known == split), None)
    if evaluated is None:
        raise InputError(f"--split {split}: must be {' or '.join(EVALUATED)}")
    console = Console()
    outcomes = [_run_one(console, scenario, seed, evaluated) for scenario in chosen]
    console.print(_table(outcomes))
    console.print(_reading(outcomes[0]), style="dim")
    problems = [f"{outcome.scenario.network}: {text}" for outcome in outcomes for text in outcome.problems()]
    for text in problems:
        console.print(f"[bold red]{text}[/]")
    if problems:
        raise typer.Exit(1)
    console.print("The generated C adapts as PyTorch does: within 1 point, at least 88 % after.")


def _run_one(console: Console, scenario: Scenario, seed: int, split: SplitName) -> Outcome:
    console.rule(scenario.network)
    console.print(scenario.story)
    report = _Lines(console)
    outcome = run(scenario, seed, report.progress, split)
    report.finish()
    return outcome


class _Lines:
    """Progress as lines, which a log can hold: when a stage begins, at every quarter, at its end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage = ""
        self._start = 0.0
        self._quarters = 0

    def progress(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self.finish()
            self._stage, self._start, self._quarters = stage, time.monotonic(), 0
            self._say("...")
        quarters = 4 * done // total
        if self._quarters < quarters < 4:
            self._say(f"{25 * quarters} %")
        self._quarters = quarters

    def finish(self) -> None:
        """End the stage that is under way, if any."""
        if self._stage:
            self._say(f"done in {time.monotonic() - self._start:.0f} s")
        self._stage = ""

    def _say(self, text: str) -> None:
        self._console.print(f"{self._stage}: {text}", highlight=False)


def _table(outcomes: list[Outcome]) -> Table:
    """One column per network."""
    table = Table(title=f"Measured on the {outcomes[0].split} sets")
    table.add_column("")
    for outcome in outcomes:
        table.add_column(outcome.scenario.network, justify="right")
    rows: tuple[tuple[str, Callable[[Outcome], str]], ...] = (
        ("easy domain", lambda o: o.scenario.easy),
        ("  accuracy there", lambda o: _percent(o.easy_accuracy)),
        ("new domain", lambda o: o.scenario.hard),
        (f"  {outcomes[0].split} samples (digits, voices)", lambda o: f"{o.samples:,} ({o.originals})"),
        ("  before adapting", lambda o: _percent(o.before)),
        ("  after, generated C (mixed)", lambda o: _percent(o.device)),
        ("  after, PyTorch (float32)", lambda o: _percent(o.pytorch)),
        ("  one standard error", lambda o: f"± {100 * o.standard_error:.1f}"),
        ("  difference, points", lambda o: _difference(o)),
        ("memory of the C", lambda o: f"{o.arena_bytes / 1000:.0f} KB"),
        ("ms per sample, C", lambda o: f"{1000 * o.device_seconds / o.scenario.recipe.steps:.1f}"),
        ("ms per sample, PyTorch", lambda o: f"{1000 * o.pytorch_seconds / o.scenario.recipe.steps:.1f}"),
    )
    for heading, cell in rows:
        table.add_row(heading, *(cell(outcome) for outcome in outcomes))
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _difference(outcome: Outcome) -> str:
    points = 100 * (outcome.device - outcome.pytorch)
    return f"{points:+.2f} ± {100 * outcome.difference_error:.2f}"


def _reading(outcome: Outcome) -> str:
    """What the standard errors say and how the evaluated split came about."""
    errors = (
        "Standard errors count images of one digit, and clips of one voice, as dependent; another seed of the "
        "training adds to them."
    )
    if outcome.split == "validation":
        return f"{errors} Settings were chosen on these validation sets, so the accuracies are optimistic."
    return f"{errors} No setting was chosen on these digits or voices."


def main() -> None:
    """Run, with errors as one line."""
    try:
        typer.run(demo)
    except OdlError as error:
        Console(stderr=True, soft_wrap=True).print(f"odl: {error.on_command_line}", markup=False)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
