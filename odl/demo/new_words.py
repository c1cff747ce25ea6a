"""A device learns words that it was not made for, by two methods: one forgets what it knew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from odl.data import SplitName
from odl.demo.deployment import Progress
from odl.learn.experiment import cells, run_continual
from odl.learn.methods import continual_method
from odl.learn.report import write_report
from odl.learn.results import Folder, Settings
from odl.learn.scenarios import continual_scenario
from odl.learn.summary import Row

METHODS = ("naive", "slda")


@dataclass(frozen=True)
class NewWords:
    """A row for each method, and the plot of their accuracies."""

    rows: tuple[Row, ...]
    plot: Path

    def problems(self) -> list[str]:
        """What the demonstration claims and this outcome does not show."""
        final = {row.method: row.figures["final"].mean for row in self.rows}
        better = final["slda"] >= final["naive"] + 30
        return [] if better else [f"new words: the analytic head ends at {final['slda']:.1f} %"]


def run_new_words(output: Path, progress: Progress, split: SplitName = "test") -> NewWords:
    """Six words, then two, two and two, each sample once; the results stay in `output`, and are not made twice."""
    folder = Folder(output)
    folder.begin(Settings("continual", "new-words", split, "mixed"))
    methods = {name: continual_method(name) for name in METHODS}
    run_continual(
        continual_scenario("new-words"),
        methods,
        cells(METHODS, ["fast"], 1),
        folder,
        split,
        "mixed",
        progress,
    )
    _, rows = write_report(folder)
    return NewWords(tuple(rows), output / "report.html")
