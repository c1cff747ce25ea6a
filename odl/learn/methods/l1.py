"""Fine-tuning towards zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.learn.method import ForgettingMethod, data_bytes
from odl.learn.network import Size
from odl.learn.task import ForgettingTask, drawn
from odl.learn.trainer import Trainer


@dataclass(frozen=True)
class L1Sparse(ForgettingMethod):
    """Training on retained samples with an L1 penalty that fades out; its step stops at zero, as a proximal one does."""

    name: ClassVar[str] = "l1-sparse"
    paper: ClassVar[str] = "Jia et al. 2023, Model Sparsity Can Simplify Machine Unlearning, arXiv:2304.04934"
    equations: ClassVar[str] = "equation 5, γ decaying linearly: CE(retained) + α (1 − e/E) ‖θ‖₁"
    rate: float = 0.01
    alpha: float = 1e-3
    updates: int = 100
    micro_batch: int = 16

    @override
    def forget(self, trainer: Trainer, task: ForgettingTask, generator: np.random.Generator) -> None:
        trainer.set_learning_rate(self.rate)
        batches = drawn(task.retained, self.micro_batch, self.updates, generator)
        for update, batch in enumerate(batches):
            trainer.train(batch.x, batch.y)
            step = np.float32(self.rate * self.alpha * (1 - update / self.updates))
            weights = trainer.weights()
            trainer.set_weights(
                {name: np.sign(own) * np.maximum(np.abs(own) - step, 0) for name, own in weights.items()}
            )

    @override
    def stored_bytes(self, task: ForgettingTask, size: Size) -> int:
        return data_bytes(task)
