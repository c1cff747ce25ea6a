"""New samples are also to be answered as the network did before they came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.learn.method import ContinualMethod, ContinualRun, probabilities
from odl.learn.task import ContinualTask, Stage, in_order
from odl.learn.trainer import Trainer


@dataclass(frozen=True)
class LwF(ContinualMethod):
    """Cross-entropy towards the old network's softened outputs over the classes that it knew.

    The temperature softens these targets only: the loss on a device is the one that it trains with.
    """

    name: ClassVar[str] = "lwf"
    paper: ClassVar[str] = "Li and Hoiem 2016, Learning without Forgetting, arXiv:1606.09282"
    equations: ClassVar[str] = "equations 2 and 3, with T in the targets alone: CE(y) + λ CE(old)"
    rate: float = 0.01
    strength: float = 1.0
    temperature: float = 2.0
    micro_batch: int = 8

    @override
    def begin(self, trainer: Trainer, task: ContinualTask, generator: np.random.Generator) -> ContinualRun:
        trainer.set_learning_rate(self.rate)
        return _Run(trainer, self, task)


class _Run(ContinualRun):
    def __init__(self, trainer: Trainer, method: LwF, task: ContinualTask) -> None:
        super().__init__(trainer)
        self._method, self._classes = method, task.classes
        self._known = np.unique(task.stages[0].train.y)

    @override
    def learn(self, stage: Stage) -> None:
        method, train = self._method, stage.train
        targets = np.zeros((len(train), self._classes), np.float32)
        targets[:, self._known] = probabilities(
            self.trainer.infer(train.x)[:, self._known], method.temperature
        )
        labels = np.eye(self._classes, dtype=np.float32)[train.y]
        for batch in in_order(train, method.micro_batch):
            both = np.concatenate([labels[batch.indices], targets[batch.indices]])
            factors = np.repeat([1.0, method.strength], len(batch.x))
            self.trainer.train(np.concatenate([batch.x, batch.x]), both, factors)
        self._known = np.union1d(self._known, train.y)

    @property
    @override
    def stored_bytes(self) -> int:
        """A copy of the weights before the stage, whose outputs each sample asks for as it comes."""
        return sum(own.nbytes for own in self.trainer.weights().values())
