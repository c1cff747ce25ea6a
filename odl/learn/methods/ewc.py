"""Weights that mattered stay near where they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.data import Dataset
from odl.learn.method import ContinualMethod, ContinualRun
from odl.learn.task import ContinualTask, Stage, in_order
from odl.learn.trainer import Floats, Trainer


@dataclass(frozen=True)
class EWC(ContinualMethod):
    """A quadratic anchor, weighted by the sum of the stages' importances; its step is implicit, stable at any strength."""

    name: ClassVar[str] = "ewc"
    paper: ClassVar[str] = "Kirkpatrick et al. 2017, arXiv:1612.00796; sums over stages: Schwarz et al. 2018"
    equations: ClassVar[str] = "equation 3: CE + λ/2 Σ F (θ − θ*)²"
    rate: float = 0.01
    strength: float = 1000.0
    micro_batch: int = 8
    samples: int = 256

    @override
    def begin(self, trainer: Trainer, task: ContinualTask, generator: np.random.Generator) -> ContinualRun:
        trainer.set_learning_rate(self.rate)
        run = _Run(trainer, self, generator)
        run.anchor(task.stages[0].train)
        return run


class _Run(ContinualRun):
    def __init__(self, trainer: Trainer, method: EWC, generator: np.random.Generator) -> None:
        super().__init__(trainer)
        self._method, self._generator = method, generator
        self._importance = {name: np.zeros_like(own) for name, own in trainer.weights().items()}

    def anchor(self, data: Dataset) -> None:
        """Add what matters for some samples of a stage, and hold on to the weights as they are."""
        chosen = self._generator.permutation(len(data))[: self._method.samples]
        for name, own in self.trainer.importance(data.x[chosen], data.y[chosen]).items():
            self._importance[name] += own
        self._anchor: dict[str, Floats] = self.trainer.weights()

    @override
    def learn(self, stage: Stage) -> None:
        factor = np.float32(self._method.rate * self._method.strength)
        for batch in in_order(stage.train, self._method.micro_batch):
            self.trainer.train(batch.x, batch.y)
            pulled = {}
            for name, own in self.trainer.weights().items():
                pull = factor * self._importance[name]
                pulled[name] = (own + pull * self._anchor[name]) / (1 + pull)
            self.trainer.set_weights(pulled)
        self.anchor(stage.train)

    @property
    @override
    def stored_bytes(self) -> int:
        return 2 * sum(own.nbytes for own in self._anchor.values())
