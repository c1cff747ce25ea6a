"""All data of all stages so far, again and again: what a device without limits could do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.data import Dataset
from odl.learn.loops import learning_rate
from odl.learn.method import ContinualMethod, ContinualRun
from odl.learn.task import ContinualTask, Stage, drawn
from odl.learn.trainer import Trainer


@dataclass(frozen=True)
class Joint(ContinualMethod):
    """After each stage `epochs` passes over everything seen, from the pretrained weights; the rate decays to 0."""

    name: ClassVar[str] = "joint"
    paper: ClassVar[str] = "none: the upper end of every table"
    equations: ClassVar[str] = "θ ← θ − η ∇CE over all stages"
    rate: float = 0.02
    micro_batch: int = 8
    epochs: int = 5

    @override
    def begin(self, trainer: Trainer, task: ContinualTask, generator: np.random.Generator) -> ContinualRun:
        return _Run(trainer, self, task, generator)


class _Run(ContinualRun):
    def __init__(
        self, trainer: Trainer, method: Joint, task: ContinualTask, generator: np.random.Generator
    ) -> None:
        super().__init__(trainer)
        self._method, self._task, self._generator = method, task, generator
        self._seen = task.stages[0].train
        self._start = trainer.weights()

    @override
    def learn(self, stage: Stage) -> None:
        seen, new, method = self._seen, stage.train, self._method
        self._seen = Dataset(
            "all", np.concatenate([seen.x, new.x]), np.concatenate([seen.y, new.y]), new.classes
        )
        self.trainer.set_weights(self._start)
        updates = method.epochs * len(self._seen) // method.micro_batch
        for update, batch in enumerate(drawn(self._seen, method.micro_batch, updates, self._generator)):
            self.trainer.set_learning_rate(learning_rate(update, updates, method.rate))
            self.trainer.train(batch.x, batch.y)

    @property
    @override
    def stored_bytes(self) -> int:
        return len(self._seen) * self._task.sample_bytes
