"""A word, or a class of images, must go."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.data import Dataset, SplitName, load
from odl.errors import InputError
from odl.learn.loops import Recipe
from odl.learn.network import Network
from odl.learn.task import ForgettingScenario, ForgettingTask, Progress

#: Retained samples that a device still has.
KEPT = 512


@dataclass(frozen=True)
class ForgetWord(ForgettingScenario):
    """One of twelve words of clean speech; all its training clips are forgotten."""

    name: ClassVar[str] = "forget-word"
    title: ClassVar[str] = "forget one of twelve keywords: all its training clips"
    word: str = "stop"

    @override
    def prepare(self, split: SplitName, progress: Progress) -> ForgettingTask:
        train, test = loaded("keywords-clean", split, progress)
        return without_class(Network.of_zoo("dscnn"), Recipe(0.01, 8, 8), train, test, self.word)


@dataclass(frozen=True)
class ForgetImages(ForgettingScenario):
    """One of ten classes of images: a digit on photographs."""

    name: ClassVar[str] = "forget-images"
    title: ClassVar[str] = "forget one of ten digits on photographs: all its training images"
    digit: str = "7"

    @override
    def prepare(self, split: SplitName, progress: Progress) -> ForgettingTask:
        train, test = loaded("digits-photos", split, progress)
        return without_class(Network.of_zoo("resnet8"), Recipe(0.01, 8, 8), train, test, self.digit)


def without_class(
    network: Network, recipe: Recipe, train: Dataset, test: Dataset, name: str
) -> ForgettingTask:
    """All training samples of a class are to be forgotten; tested is what remains."""
    if name not in train.classes:
        raise InputError(f"there is no class '{name}'; there are {', '.join(train.classes)}")
    gone = train.classes.index(name)
    reference = train.take(np.flatnonzero(train.y != gone))
    return ForgettingTask(
        network,
        recipe,
        train,
        reference,
        forget=train.take(np.flatnonzero(train.y == gone)),
        retained=kept(reference),
        test=test.take(np.flatnonzero(test.y != gone)),
    )


def loaded(name: str, split: SplitName, progress: Progress) -> tuple[Dataset, Dataset]:
    """Training data and what is judged on."""
    train, test = (
        load(name, part, progress=partial(progress, f"data: {name}, {part}")) for part in ("train", split)
    )
    return train, test


def kept(data: Dataset) -> Dataset:
    """What a device still has of retained samples: a share of every class."""
    return data.split(min(1.0, KEPT / len(data)), seed=0)[0]
