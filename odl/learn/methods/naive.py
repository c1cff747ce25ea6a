"""Plain training on what arrives: what forgetting looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.learn.method import ContinualMethod, ContinualRun
from odl.learn.task import ContinualTask, Stage, in_order
from odl.learn.trainer import Trainer


@dataclass(frozen=True)
class Naive(ContinualMethod):
    """SGD on micro-batches of the stream."""

    name: ClassVar[str] = "naive"
    paper: ClassVar[str] = "none: the lower end of every table"
    equations: ClassVar[str] = "θ ← θ − η ∇CE"
    rate: float = 0.01
    micro_batch: int = 8

    @override
    def begin(self, trainer: Trainer, task: ContinualTask, generator: np.random.Generator) -> ContinualRun:
        trainer.set_learning_rate(self.rate)
        return _Run(trainer, self)


class _Run(ContinualRun):
    def __init__(self, trainer: Trainer, method: Naive) -> None:
        super().__init__(trainer)
        self._method = method

    @override
    def learn(self, stage: Stage) -> None:
        for batch in in_order(stage.train, self._method.micro_batch):
            self.trainer.train(batch.x, batch.y)
