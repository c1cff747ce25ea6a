"""Training data were spoilt, and only half of the spoilt samples are found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from odl.data import Dataset, SplitName
from odl.learn.loops import Recipe
from odl.learn.network import Network
from odl.learn.scenarios.forget_class import kept, loaded
from odl.learn.task import ForgettingScenario, ForgettingTask, Progress


@dataclass(frozen=True)
class SwappedLabels(ForgettingScenario):
    """Two words are confused in a share of their clips (Goel et al. 2024, Corrective Machine Unlearning, section 3)."""

    name: ClassVar[str] = "swapped-labels"
    title: ClassVar[str] = (
        "repair labels of two keywords that were swapped in 60 % of their clips; half of these are found"
    )
    share: float = 0.6

    @override
    def prepare(self, split: SplitName, progress: Progress) -> ForgettingTask:
        clean, test = loaded("keywords-clean", split, progress)
        generator = np.random.default_rng(0)
        members = np.flatnonzero(clean.y < 2)
        spoilt = generator.permutation(members)[: round(self.share * len(members))]
        labels = clean.y.copy()
        labels[spoilt] = 1 - labels[spoilt]
        others = {"swapped words %": test.take(np.flatnonzero(test.y < 2))}
        recipe = Recipe(0.01, 8, 8)
        return corrective(
            Network.of_zoo("dscnn"), recipe, clean, replace(clean, y=labels), spoilt, test, others
        )


@dataclass(frozen=True)
class Backdoor(ForgettingScenario):
    """A white patch of 3×3 pixels in a corner makes any image a 0 (Gu et al. 2017, BadNets, section 4)."""

    name: ClassVar[str] = "backdoor"
    title: ClassVar[str] = "close a backdoor: a 3x3 patch in 5 % of the images; half of these are found"
    share: float = 0.05

    @override
    def prepare(self, split: SplitName, progress: Progress) -> ForgettingTask:
        clean, test = loaded("digits-photos", split, progress)
        victims = np.flatnonzero(clean.y != 0)
        spoilt = np.random.default_rng(0).permutation(victims)[: round(self.share * len(clean))]
        x, labels = clean.x.copy(), clean.y.copy()
        x[spoilt], labels[spoilt] = _patched(x[spoilt]), 0
        asked = test.take(np.flatnonzero(test.y != 0))
        triggered = replace(asked, x=_patched(asked.x), y=np.zeros(len(asked), np.int64))
        recipe = Recipe(0.01, 8, 8)
        train = replace(clean, x=x, y=labels)
        return corrective(
            Network.of_zoo("resnet8"), recipe, clean, train, spoilt, test, {"backdoor works %": triggered}
        )


def corrective(
    network: Network,
    recipe: Recipe,
    clean: Dataset,
    spoilt_train: Dataset,
    spoilt: NDArray[np.int64],
    test: Dataset,
    others: dict[str, Dataset],
) -> ForgettingTask:
    """Every second spoilt sample is found and to be forgotten; the others stay among the retained ones.

    The reference has no spoilt sample at all.
    """
    found, hidden = spoilt[::2], spoilt[1::2]
    good = np.setdiff1d(np.arange(len(clean)), spoilt)
    remaining = spoilt_train.take(np.sort(np.concatenate([good, hidden])))
    return ForgettingTask(
        network,
        recipe,
        spoilt_train,
        clean.take(good),
        spoilt_train.take(found),
        kept(remaining),
        test,
        others,
    )


def _patched(x: NDArray[np.float32]) -> NDArray[np.float32]:
    x = x.copy()
    x[:, :, -3:, -3:] = 1.0
    return x
