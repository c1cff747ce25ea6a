"""Updates may not raise the loss of what is replayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.learn.method import ContinualMethod, ContinualRun
from odl.learn.replay import Buffer, Eviction
from odl.learn.steps import dot, moved
from odl.learn.task import ContinualTask, Stage, in_order
from odl.learn.trainer import Trainer


@dataclass(frozen=True)
class AGEM(ContinualMethod):
    """The new gradient loses its part against the replayed samples' gradient. The buffer is int8."""

    name: ClassVar[str] = "agem"
    paper: ClassVar[str] = "Chaudhry et al. 2019, Efficient Lifelong Learning with A-GEM, arXiv:1812.00420"
    equations: ClassVar[str] = "equation 11: g − (g·r / r·r) r where g·r < 0"
    samples: int = 240
    replayed: int = 12
    micro_batch: int = 4
    rate: float = 0.01

    @override
    def begin(self, trainer: Trainer, task: ContinualTask, generator: np.random.Generator) -> ContinualRun:
        trainer.set_learning_rate(self.rate)
        shipped = task.stages[0].train
        scale = float(np.abs(shipped.x).max()) / 127
        buffer = Buffer(self.samples, task.network.input_shape, scale, Eviction.RESERVOIR, generator)
        buffer.add(shipped.x, shipped.y)
        return _Run(trainer, self, buffer)


class _Run(ContinualRun):
    def __init__(self, trainer: Trainer, method: AGEM, buffer: Buffer) -> None:
        super().__init__(trainer)
        self._method, self._buffer = method, buffer
        self._copy = sum(own.nbytes for own in trainer.weights().values())

    @override
    def learn(self, stage: Stage) -> None:
        for batch in in_order(stage.train, self._method.micro_batch):
            reference = self.trainer.gradient(*self._buffer.draw(self._method.replayed))
            gradient = self.trainer.gradient(batch.x, batch.y)
            against = dot(gradient, reference)
            if against < 0:
                gradient = moved(gradient, reference, -against / dot(reference, reference))
            self.trainer.set_weights(moved(self.trainer.weights(), gradient, -self._method.rate))
            self._buffer.add(batch.x, batch.y)

    @property
    @override
    def stored_bytes(self) -> int:
        """The buffer, and one gradient beside the accumulated one."""
        return self._buffer.bytes + self._copy
