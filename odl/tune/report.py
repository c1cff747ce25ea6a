"""What tuning found: each case's choice and gain, wrong variants, and how far the cost model is from measurement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from odl.tune.cache import Timings
from odl.tune.case import Case
from odl.tune.choose import measured_choice, right_cycles
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
    """The cost model against measurement, as the report has it: relative errors, and what is lost where the model does
    not pick the fastest variant."""

    measurements: int
    mean_relative_error: float
    worst_relative_error: float
    cases: int
    picks_fastest: int
    mean_loss_otherwise: float
    worst_loss: float


@dataclass(frozen=True)
class TuningReport:
    """A network's cases of which some variant is right, every wrong variant of any case with what is wrong, and the cost
    model over all measurements, None without any that it knows."""

    cases: tuple[CaseReport, ...]
    problems: tuple[tuple[Case, str, str], ...]
    model_error: ModelError | None

    @property
    def cycles(self) -> int:
        """Of all calls of a training step, as chosen."""
        return sum(item.cycles * item.case.calls for item in self.cases)

    @property
    def first_cycles(self) -> int:
        """The same with the first variants."""
        return sum((item.first_cycles or item.cycles) * item.case.calls for item in self.cases)


def report(cases: Sequence[Case], timings: Timings) -> TuningReport:
    """What is known of the cases; those that nobody has measured are left out."""
    found: list[CaseReport] = []
    wrong: list[tuple[Case, str, str]] = []
    for case in cases:
        here = timings.get(case.key, {})
        known = (here[name] for name in map(variant_key, case.call.variants) if name in here)
        problems = {item.variant: item.problem for item in known if item.problem is not None}
        chosen = measured_choice(case.call.variants, here)
        wrong += [(case, name, text) for name, text in problems.items()]
        if chosen is not None:
            found.append(_case_report(case, variant_key(chosen), here, problems))
    return TuningReport(tuple(found), tuple(wrong), model_error(found))


def _case_report(
    case: Case, chosen: str, timings: Mapping[str, Timing], problems: Mapping[str, str]
) -> CaseReport:
    cores, variants = case.cluster.cores, case.call.variants
    right = right_cycles(variants, timings)
    predicted = {
        name: predict(case.call.with_variant(variant), cores)
        for variant in variants
        if (name := variant_key(variant)) in right
    }
    pick = fastest(case.call, cores)
    return CaseReport(
        case,
        chosen,
        right[chosen],
        right.get(variant_key(variants[0])),
        min(right.values()),
        None if pick is None else right.get(variant_key(pick)),
        tuple(cycles / right[name] - 1 for name, cycles in predicted.items() if cycles is not None),
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
