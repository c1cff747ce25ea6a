"""Experience replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.learn.method import ContinualMethod, ContinualRun
from odl.learn.replay import Buffer, Eviction
from odl.learn.task import ContinualTask, Stage, in_order
from odl.learn.trainer import Trainer


@dataclass(frozen=True)
class ER(ContinualMethod):
    """`new` samples of the stream with `replayed` ones of the buffer in each update; the buffer is int8.

    The buffer is shipped with samples of the first stage.
    """

    name: ClassVar[str] = "er"
    paper: ClassVar[str] = (
        "Chaudhry et al. 2019, On Tiny Episodic Memories in Continual Learning, arXiv:1902.10486"
    )
    equations: ClassVar[str] = (
        "algorithm 1; reservoir: algorithm 3 (Vitter 1985); balanced: Chrysakis and Moens 2020"
    )
    samples: int = 240
    eviction: Eviction = Eviction.BALANCED
    new: int = 4
    replayed: int = 12
    rate: float = 0.02

    @override
    def begin(self, trainer: Trainer, task: ContinualTask, generator: np.random.Generator) -> ContinualRun:
        trainer.set_learning_rate(self.rate)
        shipped = task.stages[0].train
        scale = float(np.abs(shipped.x).max()) / 127
        buffer = Buffer(self.samples, task.network.input_shape, scale, self.eviction, generator)
        buffer.add(shipped.x, shipped.y)
        return _Run(trainer, self, buffer)


class _Run(ContinualRun):
    def __init__(self, trainer: Trainer, method: ER, buffer: Buffer) -> None:
        super().__init__(trainer)
        self._method, self._buffer = method, buffer

    @override
    def learn(self, stage: Stage) -> None:
        for batch in in_order(stage.train, self._method.new):
            x, y = self._buffer.draw(self._method.replayed)
            labels = stage.train.y[batch.indices]
            self.trainer.train(np.concatenate([batch.x, x]), np.concatenate([labels, y]))
            self._buffer.add(batch.x, labels)

    @property
    @override
    def stored_bytes(self) -> int:
        return self._buffer.bytes
