"""Keywords by voices that no training set has: new words, and new surroundings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.data import Dataset, SplitName, load
from odl.data.keywords import DOMAINS, Split, load_domain
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


#: Each adds one trouble to the one before: a cover, noise, a room.
_COVER = replace(DOMAINS["clean"], name="cover", cover_hz=600.0)
_NOISE = replace(_COVER, name="noise", signal_to_noise_db=(15.0, 35.0), gain_db=(-12.0, 0.0))
_ROOM = replace(
    _NOISE, name="room", reverberation_seconds=(0.1, 0.3), reverberation_level=(0.05, 0.2), shift_seconds=0.1
)
SURROUNDINGS = (DOMAINS["clean"], _COVER, _NOISE, _ROOM)


@dataclass(frozen=True)
class NewSurroundings(ContinualScenario):
    """All twelve words: in a quiet room, then behind a cover, then in noise, then with reverberation."""

    name: ClassVar[str] = "new-surroundings"
    title: ClassVar[str] = "domain-incremental keywords: clean, then cover, noise, reverberation"
    speakers: int = 120
    tested: int = 40

    @override
    def prepare(self, seed: int, split: SplitName, progress: Progress) -> ContinualTask:
        stages = []
        for domain in SURROUNDINGS:
            data = [
                load_domain(
                    domain,
                    part,
                    Split(speakers=count, takes=1, renderings=1),
                    progress=partial(progress, f"data: keywords, {domain.name}, {part}"),
                )
                for part, count in (("train", self.speakers), (split, self.tested))
            ]
            stages.append(Stage(domain.name, *data))
        network, first = Network.of_zoo("dscnn"), stages[0].train
        module = network.trained(
            first,
            PRETRAINING,
            seed,
            lambda done, total, _: progress("pretraining on clean speech", done, total),
        )
        return ContinualTask(network, module, tuple(stages))


def _words(data: Dataset, low: int, high: int) -> Dataset:
    return data.take(np.flatnonzero((data.y >= low) & (data.y < high)))
