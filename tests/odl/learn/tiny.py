"""A network and tasks that take a second: four kinds of stripes, a little noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from odl.data import Dataset, SplitName
from odl.learn.loops import Recipe
from odl.learn.network import Network, grown
from odl.learn.scenarios.forget_class import without_class
from odl.learn.task import (
    ContinualScenario,
    ContinualTask,
    ForgettingScenario,
    ForgettingTask,
    Progress,
    Stage,
)

CLASSES = ("flat", "rows", "columns", "checks")


def stripes(count: int, seed: int, noise: float = 0.4) -> Dataset:
    generator = np.random.default_rng(seed)
    rows = np.tile(np.array([[1.0], [-1.0]]), (4, 8))
    patterns = np.stack([np.ones((8, 8)), rows, rows.T, rows * rows.T])
    y = generator.integers(4, size=count)
    x = patterns[y][:, None] + noise * generator.normal(size=(count, 1, 8, 8))
    return Dataset("stripes", x.astype(np.float32), y.astype(np.int64), CLASSES)


def module() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


NETWORK = Network("tiny", module, (1, 8, 8))
RECIPE = Recipe(0.05, 8, 8, pretrain_epochs=6)


def folded() -> nn.Module:
    torch.manual_seed(0)
    return NETWORK.folded(4)


@dataclass(frozen=True)
class TwoAndTwo(ContinualScenario):
    name: ClassVar[str] = "two-and-two"
    title: ClassVar[str] = "two kinds of stripes, then two more"

    def prepare(self, seed: int, split: SplitName, progress: Progress) -> ContinualTask:
        train, test = stripes(600, 0), stripes(120, 1)
        stages = tuple(
            Stage(name, *(data.take(np.flatnonzero(data.y // 2 == half)) for data in (train, test)))
            for half, name in enumerate(("first", "second"))
        )
        first = stages[0].train
        start = NETWORK.trained(Dataset("first", first.x, first.y, CLASSES[:2]), RECIPE, seed)
        return ContinualTask(NETWORK, grown(start, 4), stages)


@dataclass(frozen=True)
class ForgetChecks(ForgettingScenario):
    name: ClassVar[str] = "forget-checks"
    title: ClassVar[str] = "forget one of four kinds of stripes"

    def prepare(self, split: SplitName, progress: Progress) -> ForgettingTask:
        return without_class(NETWORK, RECIPE, stripes(600, 0, 0.9), stripes(200, 1, 1.3), "checks")
