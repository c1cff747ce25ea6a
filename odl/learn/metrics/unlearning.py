"""What a network still knows, and how far it is from networks that never saw what it shall forget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from odl.data import Dataset
from odl.learn.method import classified, probabilities
from odl.learn.metrics.membership import non_members
from odl.learn.task import ForgettingTask
from odl.learn.trainer import Floats

Infer = Callable[[Floats], Floats]
"""Logits [N, classes] of x [N, …]."""


@dataclass(frozen=True)
class Knowledge:
    """In percent: forgotten samples classified wrong (UA), retained training samples right (RA), unseen ones right (TA),
    and forgotten ones that an attack takes for non-members (MIA)."""

    ua: float
    ra: float
    ta: float
    mia: float

    def gap(self, others: Sequence[Knowledge]) -> float:
        """Mean over the four figures of the distance to the others' mean."""
        mean = {key: np.mean([getattr(other, key) for other in others]) for key in asdict(self)}
        return float(np.mean([abs(value - mean[key]) for key, value in asdict(self).items()]))


def knowledge(infer: Infer, task: ForgettingTask) -> Knowledge:
    """The four figures of a network."""
    sets = {"forget": task.forget, "retained": task.retained, "test": task.test}
    logits = {name: infer(data.x) for name, data in sets.items()}
    right = {name: _accuracy(logits[name], data) for name, data in sets.items()}
    confidence = {name: _confidence(logits[name], data) for name, data in sets.items()}
    mia = non_members(confidence["retained"], confidence["test"], confidence["forget"])
    return Knowledge(100 - right["forget"], right["retained"], right["test"], mia)


def other_figures(infer: Infer, others: Mapping[str, Dataset]) -> dict[str, float]:
    """Percent of each data set that is classified as it is labelled."""
    return {name: _accuracy(infer(data.x), data) for name, data in others.items()}


def noise_floor(retrained: Sequence[Knowledge]) -> float:
    """Mean gap of each retrained network to the others: what a gap can be by chance. 0 of fewer than two."""
    if len(retrained) < 2:
        return 0.0
    own = [item.gap([*retrained[:number], *retrained[number + 1 :]]) for number, item in enumerate(retrained)]
    return float(np.mean(own))


def _accuracy(logits: Floats, data: Dataset) -> float:
    return 100 * float((classified(logits) == data.y).mean())


def _confidence(logits: Floats, data: Dataset) -> Floats:
    return np.nan_to_num(probabilities(logits)[np.arange(len(data)), data.y])
