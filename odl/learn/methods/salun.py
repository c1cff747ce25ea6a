"""Random labels, for all weights or for those that matter to the forgotten samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.learn.method import ForgettingMethod, data_bytes
from odl.learn.network import Size
from odl.learn.steps import in_parts, paired, train_both
from odl.learn.task import ForgettingTask
from odl.learn.trainer import Floats, Trainer


@dataclass(frozen=True)
class RandomLabels(ForgettingMethod):
    """Forgotten samples get labels drawn among the other classes, beside retained ones with their own."""

    name: ClassVar[str] = "random-labels"
    paper: ClassVar[str] = (
        "Golatkar et al. 2020, Eternal Sunshine of the Spotless Net; rate as in SalUn's code"
    )
    equations: ClassVar[str] = "CE(forgotten, random y) + CE(retained)"
    rate: float = 0.013
    updates: int = 100
    micro_batch: int = 16

    @override
    def forget(self, trainer: Trainer, task: ForgettingTask, generator: np.random.Generator) -> None:
        self.relabel(trainer, task, generator, None)

    def relabel(
        self,
        trainer: Trainer,
        task: ForgettingTask,
        generator: np.random.Generator,
        mask: dict[str, np.ndarray] | None,
    ) -> None:
        """Train towards random labels; where `mask` is False a weight stays, bit for bit."""
        trainer.set_learning_rate(self.rate)
        before, classes = trainer.weights(), len(task.train.classes)
        for forget, retain in paired(task, self.micro_batch, self.updates, generator):
            wrong = (forget.y + generator.integers(1, classes, len(forget.x))) % classes
            ones = np.ones(len(forget.x)), np.ones(len(retain.x))
            train_both(trainer, (forget.x, wrong.astype(np.int64), ones[0]), (retain.x, retain.y, ones[1]))
            if mask is not None:
                now: dict[str, Floats] = trainer.weights()
                trainer.set_weights({name: np.where(mask[name], now[name], before[name]) for name in now})

    @override
    def stored_bytes(self, task: ForgettingTask, size: Size) -> int:
        return data_bytes(task)


@dataclass(frozen=True)
class SalUn(RandomLabels):
    """Random labels for the weights with the largest gradients of the forgotten samples' loss."""

    name: ClassVar[str] = "salun"
    paper: ClassVar[str] = "Fan et al. 2023, SalUn, arXiv:2310.12508"
    equations: ClassVar[str] = "equations 3 and 4: mask = |Σ ∇CE(forgotten)| in the upper share"
    share: float = 0.5

    @override
    def forget(self, trainer: Trainer, task: ForgettingTask, generator: np.random.Generator) -> None:
        gradient = {name: np.abs(part) for name, part in in_parts(trainer, task.forget).items()}
        limit = np.quantile(np.concatenate([part.ravel() for part in gradient.values()]), 1 - self.share)
        self.relabel(trainer, task, generator, {name: part >= limit for name, part in gradient.items()})

    @override
    def stored_bytes(self, task: ForgettingTask, size: Size) -> int:
        return data_bytes(task) + -(-size.parameters // 8)
