"""A head for each stage, consolidated class by class, over a network that stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.learn.method import ContinualMethod, ContinualRun
from odl.learn.network import last_layer
from odl.learn.task import ContinualTask, Stage, in_order
from odl.learn.trainer import Floats, Trainer


@dataclass(frozen=True)
class CWR(ContinualMethod):
    """Only the last layer learns: from zero in each stage, then averaged into the classes' consolidated weights."""

    name: ClassVar[str] = "cwr"
    paper: ClassVar[str] = "Lomonaco et al. 2019, Rehearsal-Free Continual Learning, arXiv:1907.03799 (CWR*)"
    equations: ClassVar[str] = "algorithm 1: ŵ = (ŵ √(past/now) + w − mean(w)) / (√(past/now) + 1)"
    rate: float = 0.05
    micro_batch: int = 8

    @override
    def begin(self, trainer: Trainer, task: ContinualTask, generator: np.random.Generator) -> ContinualRun:
        trainer.set_learning_rate(self.rate)
        return _Run(trainer, self, task)


class _Run(ContinualRun):
    def __init__(self, trainer: Trainer, method: CWR, task: ContinualTask) -> None:
        super().__init__(trainer)
        self._method = method
        path = last_layer(task.module)
        weights = trainer.weights()
        self._head = tuple(name for name in weights if name.rpartition(".")[0] == path)
        self._body = {name: own for name, own in weights.items() if name not in self._head}
        self._past = np.zeros(task.classes)
        self._kept: dict[str, Floats] = {name: np.zeros_like(weights[name]) for name in self._head}
        self._consolidate(task.stages[0])

    @override
    def learn(self, stage: Stage) -> None:
        zero = {name: np.zeros_like(own) for name, own in self._kept.items()}
        self.trainer.set_weights(self._body | zero)
        for batch in in_order(stage.train, self._method.micro_batch):
            self.trainer.train(batch.x, batch.y)
            learned = self.trainer.weights()
            self.trainer.set_weights(self._body | {name: learned[name] for name in self._head})
        self._consolidate(stage)

    def _consolidate(self, stage: Stage) -> None:
        """Average what the stage taught about its classes into what is kept, and predict with that."""
        learned = self.trainer.weights()
        now = np.bincount(stage.train.y, minlength=len(self._past))
        classes = np.flatnonzero(now)
        for name in self._head:
            mean = learned[name][classes].mean()
            for label in classes:
                past = np.float32(np.sqrt(self._past[label] / now[label]))
                kept, new = self._kept[name], learned[name][label] - mean
                kept[label] = (kept[label] * past + new) / (past + 1)
        self._past += now
        self.trainer.set_weights(self._body | self._kept)

    @property
    @override
    def stored_bytes(self) -> int:
        """The consolidated head and the classes' counts."""
        return sum(own.nbytes for own in self._kept.values()) + 4 * len(self._past)
