"""Results of several seeds as one row each: mean and deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from odl.learn.results import Result


@dataclass(frozen=True)
class Figure:
    """What a column of the report holds; `brief`: a terminal's table has it too."""

    key: str
    title: str
    meaning: str
    digits: int = 1
    brief: bool = True


CONTINUAL = (
    Figure("final", "final %", "accuracy on the test samples of all stages after the last one"),
    Figure("acc", "ACC %", "the same, stages weighing equally"),
    Figure("bwt", "BWT", "what later stages changed about earlier ones; below zero they were forgotten"),
    Figure("fwt", "FWT", "accuracy on a stage just before it is learned, minus guessing", brief=False),
    Figure("forgetting", "forgetting", "the way down from each stage's best accuracy"),
    Figure("bytes", "bytes", "bytes on a device beyond plain training, replay included", 0),
    Figure("mega_macs", "MMACs", "multiply-accumulates of learning, judging not counted", 0),
)
FORGETTING = (
    Figure("ua", "UA %", "unlearning accuracy: share of the forgotten samples that are classified wrong"),
    Figure("ra", "RA %", "accuracy on retained training samples"),
    Figure("ta", "TA %", "accuracy on unseen samples"),
    Figure("mia", "MIA %", "share of the forgotten samples that an attack takes for non-members"),
    Figure("gap", "gap", "mean distance of these four to retrained networks", 2),
    Figure(
        "noise", "noise floor", "the same distance of one retrained network to the others", 2, brief=False
    ),
    Figure(
        "relearn", "relearning", "steps to relearn over a retrained network's, the least over all attacks", 2
    ),
    Figure(
        "barrier", "barrier", "how far the loss rises on the straight way to the original", 2, brief=False
    ),
    Figure(
        "distance",
        "distance",
        "length of the way to the original, over the original's length",
        3,
        brief=False,
    ),
    Figure("bytes", "bytes", "bytes on a device beyond plain training", 0),
    Figure("passes", "passes", "samples inferred or trained on to forget", 0, brief=False),
    Figure("mega_macs", "MMACs", "multiply-accumulates to forget", 0),
)
FIGURES = {"continual": CONTINUAL, "unlearn": FORGETTING}


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (of the sample, 0 for one seed) over `count` seeds."""

    mean: float
    deviation: float
    count: int

    def text(self, digits: int) -> str:
        """Mean ± deviation; without one for a single seed, or where all are equal."""
        mean = f"{self.mean:,.{digits}f}"
        return mean if self.count < 2 or self.deviation == 0 else f"{mean} ± {self.deviation:,.{digits}f}"


@dataclass(frozen=True)
class Row:
    """A method on an engine. `figures` by key, those of `others` by name."""

    method: str
    engine: str
    seeds: tuple[int, ...]
    figures: dict[str, Spread]
    results: tuple[Result, ...]

    def as_json(self) -> dict[str, Any]:
        """The row as a JSON object."""
        spreads = {key: vars(spread) for key, spread in self.figures.items()}
        return {"method": self.method, "engine": self.engine, "seeds": list(self.seeds), "figures": spreads}


def rows(results: Sequence[Result]) -> list[Row]:
    """One row for each method and engine, in the order of the results."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result["method"], result["engine"]), []).append(result)
    return [
        Row(method, engine, tuple(item["seed"] for item in group), _spreads(group), tuple(group))
        for (method, engine), group in groups.items()
    ]


def columns(kind: str, found: Sequence[Row]) -> list[Figure]:
    """The report's columns: those of the kind, and the figures that only this scenario has."""
    known = FIGURES[kind]
    present = dict.fromkeys(key for row in found for key in row.figures)
    own = [
        Figure(key, key, "a figure of this scenario") for key in present if key not in {f.key for f in known}
    ]
    return [figure for figure in known if figure.key in present] + own


def _spreads(group: Sequence[Result]) -> dict[str, Spread]:
    found: dict[str, Spread] = {}
    for key in group[0]["figures"]:
        values = np.array([result["figures"][key] for result in group], np.float64)
        found[key] = Spread(
            float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0, len(values)
        )
    return found
