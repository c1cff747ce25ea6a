"""`python -m odl.demo`: adapts, learns new words, forgets a voice; exit code 1 when a claim does not hold."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from odl.data import SplitName
from odl.demo.deployment import SCENARIOS, Outcome, Scenario, run
from odl.demo.new_words import run_new_words
from odl.demo.two_voices import run_two_voices
from odl.errors import InputError, OdlError

EVALUATED: tuple[SplitName, ...] = ("test", "validation")


def demo(
    network: Annotated[
        str, typer.Option(help="resnet8 or dscnn: one adaptation and nothing else; all: everything.")
    ] = "all",
    seed: Annotated[int, typer.Option(help="Seed of data, pretraining and order.", min=0)] = 0,
    split: Annotated[
        str, typer.Option(help="What accuracies are measured on: test, or validation to choose settings.")
    ] = "test",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of plots; one in the system's temporary folder by default."
        ),
    ] = None,
) -> None:
    """Pretrain networks, and let the generated C adapt them, teach them new words, and forget a voice."""
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
    if network == "all":
        problems += _learn_words(console, output or Path(tempfile.gettempdir()) / "odl-demo", evaluated)
        problems += _forget_voice(console, seed, evaluated)
    for text in problems:
        console.print(f"[bold red]{text}[/]")
    if problems:
        raise typer.Exit(1)
    console.print("The generated C adapts as PyTorch does: within 1 point, at least 88 % after.")
    if network == "all":
        console.print("It learns new words without losing the old ones, and forgets a voice to the bit.")


def _run_one(console: Console, scenario: Scenario, seed: int, split: SplitName) -> Outcome:
    console.rule(scenario.network)
    console.print(scenario.story)
    report = _Lines(console)
    outcome = run(scenario, seed, report.progress, split)
    report.finish()
    return outcome


def _learn_words(console: Console, output: Path, split: SplitName) -> list[str]:
    """The run that learns stage after stage; what it claims and does not show."""
    console.rule("new words")
    console.print("DS-CNN knows six words; the device hears six more, two at a time and each clip once.")
    report = _Lines(console)
    outcome = run_new_words(output / split, report.progress, split)
    report.finish()
    for row in outcome.rows:
        final, kept = row.figures["final"].text(1), row.figures["bytes"].text(0)
        console.print(f"{row.method}: {final} % of all twelve words, {kept} bytes kept", highlight=False)
    console.print(f"plots: {outcome.plot}", soft_wrap=True, highlight=False)
    return outcome.problems()


def _forget_voice(console: Console, seed: int, split: SplitName) -> list[str]:
    """The run that forgets; what it claims and does not show."""
    console.rule("a voice is forgotten")
    console.print(
        "DS-CNN learns from two new voices in noise, sample by sample; then the first takes its clips back."
    )
    report = _Lines(console)
    outcome = run_two_voices(seed, report.progress, split)
    report.finish()
    table = Table("accuracy on clips that were not learned", "first voice", "second voice")
    for title, pair in (
        ("before", outcome.before),
        ("with both", outcome.both),
        ("the first forgotten", outcome.without),
    ):
        table.add_row(title, *(_percent(share) for share in pair))
    console.print(table)
    console.print(
        f"forgetting took {outcome.steps} of {outcome.learned} steps, {outcome.seconds:.1f} s; the log takes "
        f"{outcome.log_bytes / 1000:.0f} KB\ndigest {outcome.digest.hex()}",
        highlight=False,
    )
    return outcome.problems()


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
