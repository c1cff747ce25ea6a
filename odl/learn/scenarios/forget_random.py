"""A tenth of the training samples, drawn at random, which the network knows by heart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.data import SplitName
from odl.learn.loops import Recipe
from odl.learn.network import Network
from odl.learn.scenarios.forget_class import kept, loaded
from odl.learn.task import ForgettingScenario, ForgettingTask, Progress


@dataclass(frozen=True)
class ForgetRandom(ForgettingScenario):
    """Few noisy clips, learned for so long that they are memorised: only then is there anything to forget."""

    name: ClassVar[str] = "forget-random"
    title: ClassVar[str] = "forget 10 % of 1,200 noisy keywords that were learned by heart"
    samples: int = 1200
    epochs: int = 30

    @override
    def prepare(self, split: SplitName, progress: Progress) -> ForgettingTask:
        train, test = loaded("keywords-noisy", split, progress)
        train = train.split(self.samples / len(train), seed=0)[0]
        forget, reference = train.split(0.1, seed=1)
        recipe = Recipe(0.01, 8, 8, pretrain_epochs=self.epochs)
        test = test.take(np.arange(0, len(test), 4))
        return ForgettingTask(
            Network.of_zoo("dscnn"), recipe, train, reference, forget, kept(reference), test
        )
