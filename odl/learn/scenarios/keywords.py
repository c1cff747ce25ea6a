"""Keywords by voices that no training set has: new words, and new surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.data import Dataset, SplitName, load
from odl.learn.loops import Recipe
from odl.learn.network import Network, grown
from odl.learn.task import ContinualScenario, ContinualTask, Progress, Stage

#: Ten passes over the first words.
PRETRAINING = Recipe(0.01, 8, 8, pretrain_epochs=10)


@dataclass(frozen=True)
class NewWords(ContinualScenario):
    """Six words, then two, two and two: clean speech, in the order of the data set's classes."""

    name: ClassVar[str] = "new-words"
    title: ClassVar[str] = "class-incremental keywords: 6 words, then 2 + 2 + 2"
    first: int = 6
    then: int = 2

    @override
    def prepare(self, seed: int, split: SplitName, progress: Progress) -> ContinualTask:
        train, test = (
            load("keywords-clean", part, progress=partial(progress, f"data: keywords-clean, {part}"))
            for part in ("train", split)
        )
        network = Network.of_zoo("dscnn")
        bounds = [0, *range(self.first, len(train.classes) + 1, self.then)]
        stages = [
            Stage(" ".join(train.classes[low:high]), _words(train, low, high), _words(test, low, high))
            for low, high in pairwise(bounds)
        ]
        first = stages[0].train
        pretrained = network.trained(
            Dataset(first.name, first.x, first.y, first.classes[: self.first]),
            PRETRAINING,
            seed,
            lambda done, total, _: progress("pretraining on the first words", done, total),
        )
        return ContinualTask(network, grown(pretrained, len(train.classes)), tuple(stages))


def _words(data: Dataset, low: int, high: int) -> Dataset:
    return data.take(np.flatnonzero((data.y >= low) & (data.y < high)))
