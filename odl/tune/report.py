"""What tuning found: each case's choice and gain, wrong variants, and how far the cost model is from measurement."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from odl.tune.cache import Timings
from odl.tune.case import Case
from odl.tune.choose import measured_choice
from odl.tune.cost import fastest, predict
from odl.tune.job import Timing
from odl.tune.key import variant_key


@dataclass(frozen=True)
class CaseReport:
    """One case: cycles of the variant chosen and of the first one (None where that is wrong), wrong variants by name.

    `model_pick`: measured cycles of the variant that the cost model takes for the fastest; `errors`: how far the model
    is from each measurement, as a share of it.
    """

    case: Case
    chosen: str
    cycles: int
    first_cycles: int | None
    best_cycles: int
    model_pick: int | None
    errors: tuple[float, ...]
    problems: Mapping[str, str]

    @property
    def gain(self) -> float:
        """Share of the first variant's cycles that the choice saves."""
        return 0.0 if self.first_cycles is None else 1 - self.cycles / self.first_cycles

    def as_json(self) -> dict[str, Any]:
        """The case's entry in the report."""
        call = self.case.call
        return {
            "template": call.kernel.template,
            "shape": dict(call.shape),
            "context": json.loads(self.case.key)["context"],
            "calls": self.case.calls,
            "chosen": json.loads(self.chosen),
            "cycles": self.cycles,
            "default_cycles": self.first_cycles,
            "gain": self.gain,
            "problems": [
                {"variant": json.loads(name), "problem": text} for name, text in self.problems.items()
            ],
        }


@dataclass(frozen=True)
class ModelError:
    """The cost model against measurement: relative errors, and what is lost where it does not pick the fastest variant."""

    measurements: int
    mean: float
    worst: float
    cases: int
    right_picks: int
    mean_loss: float
    worst_loss: float

    def as_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {
            "measurements": self.measurements,
            "mean_relative_error": self.mean,
            "worst_relative_error": self.worst,
            "cases": self.cases,
            "picks_fastest": self.right_picks,
            "mean_loss_otherwise": self.mean_loss,
            "worst_loss": self.worst_loss,
        }


@dataclass(frozen=True)
class TuningReport:
    """A network's cases; `unsound` are those of which no variant is right."""

    cases: tuple[CaseReport, ...]
    unsound: tuple[tuple[Case, Mapping[str, str]], ...]

    @property
    def cycles(self) -> int:
        """Of all calls of a training step, as chosen."""
        return sum(item.cycles * item.case.calls for item in self.cases)

    @property
    def first_cycles(self) -> int:
        """The same with the first variants."""
        return sum((item.first_cycles or item.cycles) * item.case.calls for item in self.cases)

    @property
    def problems(self) -> Iterator[tuple[Case, str, str]]:
        """Every wrong variant with what is wrong."""
        for item in self.cases:
            yield from ((item.case, name, text) for name, text in item.problems.items())
        for case, problems in self.unsound:
            yield from ((case, name, text) for name, text in problems.items())

    @property
    def model_error(self) -> ModelError | None:
        """Over all measurements; None without any that the model knows."""
        return model_error(self.cases)


def report(cases: Sequence[Case], timings: Timings) -> TuningReport:
    """What is known of the cases; those that nobody has measured are left out."""
    found, unsound = [], []
    for case in cases:
        here = timings.get(case.key, {})
        problems = {
            variant_key(item): here[variant_key(item)].problem or ""
            for item in case.call.variants
            if variant_key(item) in here and here[variant_key(item)].problem is not None
        }
        chosen = measured_choice(case.call.variants, here)
        if chosen is not None:
            found.append(_case_report(case, variant_key(chosen), here, problems))
        elif problems:
            unsound.append((case, problems))
    return TuningReport(tuple(found), tuple(unsound))


def _case_report(
    case: Case, chosen: str, timings: Mapping[str, Timing], problems: Mapping[str, str]
) -> CaseReport:
    cores, call = case.cluster.cores, case.call
    cycles = {
        name: timings[name].cycles
        for name in map(variant_key, call.variants)
        if name in timings and timings[name].cycles is not None
    }
    right = {name: value for name, value in cycles.items() if value is not None}
    errors = []
    for variant in call.variants:
        predicted = predict(call.with_variant(variant), cores)
        if predicted is not None and variant_key(variant) in right:
            measured = right[variant_key(variant)]
            errors.append(predicted / measured - 1)
    pick = fastest(call, cores)
    return CaseReport(
        case,
        chosen,
        right[chosen],
        right.get(variant_key(call.variants[0])),
        min(right.values()),
        None if pick is None else right.get(variant_key(pick)),
        tuple(errors),
        problems,
    )


def model_error(cases: Sequence[CaseReport]) -> ModelError | None:
    """The model's error over the measurements of some cases; None where it knows none of them.

    A pick is right where no measured variant is faster by 1 %.
    """
    errors = [abs(error) for item in cases for error in item.errors]
    picks = [(item.model_pick, item.best_cycles) for item in cases if item.model_pick is not None]
    if not errors or not picks:
        return None
    losses = [pick / best - 1 for pick, best in picks if pick > 1.01 * best]
    return ModelError(
        len(errors),
        sum(errors) / len(errors),
        max(errors),
        len(picks),
        len(picks) - len(losses),
        sum(losses) / len(losses) if losses else 0.0,
        max(losses, default=0.0),
    )
