"""Dampening of what matters to the forgotten samples, and resistance against relearning after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from odl.data import Dataset
from odl.learn.method import ForgettingMethod, data_bytes, losses
from odl.learn.network import Size, last_layer
from odl.learn.steps import dot, moved
from odl.learn.task import ForgettingTask, drawn
from odl.learn.trainer import Floats, Trainer, Weights


@dataclass(frozen=True)
class SSD(ForgettingMethod):
    """Weights that matter more to the forgotten than to the retained samples become smaller. Nothing is trained.

    Departures from the paper: importances are of single samples, as a device computes them; I_D is of retained samples
    only; α is the ratio's `percentile` over all weights, since its scale differs then. The loss is against equal shares for
    all classes: samples that a network is sure of give hardly any gradient by their labels, and nothing would be
    forgotten. So no label is needed.
    """

    name: ClassVar[str] = "ssd"
    paper: ClassVar[str] = "Foster et al. 2024, Selective Synaptic Dampening, arXiv:2308.07707"
    equations: ClassVar[str] = "equations 4 and 6: where I_f > α I_D: θ ← min(λ I_D / I_f, 1) θ"
    percentile: float = 99.0
    dampening: float = 1.0

    @override
    def forget(self, trainer: Trainer, task: ForgettingTask, generator: np.random.Generator) -> None:
        retained = self.importance(trainer, task.retained)
        forgotten = self.importance(trainer, task.forget)
        smallest = np.float32(1e-30)
        ratio = {name: own / np.maximum(retained[name], smallest) for name, own in forgotten.items()}
        limit = np.percentile(np.concatenate([part.ravel() for part in ratio.values()]), self.percentile)
        weights = trainer.weights()
        for name, own in weights.items():
            factor = np.minimum(self.dampening / np.maximum(ratio[name], smallest), 1)
            weights[name] = np.where(ratio[name] > limit, own * factor, own).astype(np.float32)
        trainer.set_weights(weights)

    @staticmethod
    def importance(trainer: Trainer, data: Dataset) -> dict[str, Floats]:
        """Squared gradients of single samples' cross-entropy against equal shares for all classes."""
        classes = len(data.classes)
        return trainer.importance(data.x, np.full((len(data), classes), 1 / classes, np.float32))

    @override
    def stored_bytes(self, task: ForgettingTask, size: Size) -> int:
        """I_D, made before deployment, and I_f, both fp32."""
        return 8 * size.parameters


def fresh_outputs(weights: Weights, layer: str, classes: NDArray[np.int64]) -> dict[str, Floats]:
    """A copy in which the last layer knows nothing of some classes."""
    copied = {name: own.copy() for name, own in weights.items()}
    for name in (f"{layer}.weight", f"{layer}.bias"):
        copied[name][classes] = 0
    return copied


@dataclass(frozen=True)
class ResistantSSD(SSD):
    """SSD, then updates that make relearning harder: the loss of the forgotten samples shall stay up after an attack.

    Each update attacks a copy with up to `attack` steps of SGD on forgotten samples and takes the gradient there, as if
    the copy were the network (first order). In a share `fresh` of the updates the copy's outputs for the forgotten classes
    start from zero, as an attacker may have it. A forgotten sample whose loss is above `cap` pulls no further.
    """

    name: ClassVar[str] = "ssd-resist"
    paper: ClassVar[str] = "SSD; then Tamirisa et al. 2024, Tamper-Resistant Safeguards, arXiv:2408.00761"
    equations: ClassVar[str] = "TAR, algorithm 1, first order, with cross-entropy on retained samples"
    updates: int = 120
    attack: int = 8
    fresh: float = 0.7
    rate: float = 0.01
    share: float = 0.5
    cap: float = 2.5
    clip: float = 2.0
    micro_batch: int = 16

    @override
    def forget(self, trainer: Trainer, task: ForgettingTask, generator: np.random.Generator) -> None:
        super().forget(trainer, task, generator)
        trainer.set_learning_rate(self.rate)
        size = min(self.micro_batch, len(task.forget))
        forgotten = drawn(task.forget, size, self.updates * (self.attack + 1), generator)
        head = last_layer(task.network.folded(len(task.train.classes)))
        for retain in drawn(task.retained, self.micro_batch, self.updates, generator):
            weights = trainer.weights()
            if generator.random() < self.fresh:
                trainer.set_weights(fresh_outputs(weights, head, np.unique(task.forget.y)))
            for _ in range(int(generator.integers(1, self.attack + 1))):
                batch = next(forgotten)
                trainer.train(batch.x, batch.y)
            batch = next(forgotten)
            below = losses(trainer.infer(batch.x), batch.y) < self.cap
            upwards = trainer.gradient(batch.x, batch.y, np.where(below, -1.0, 0.0))
            trainer.set_weights(weights)
            gradient = moved(trainer.gradient(retain.x, retain.y), upwards, self.share)
            length = float(np.sqrt(dot(gradient, gradient)))
            trainer.set_weights(
                moved(weights, gradient, -self.rate * min(1.0, self.clip / max(length, 1e-30)))
            )

    @override
    def stored_bytes(self, task: ForgettingTask, size: Size) -> int:
        """SSD's, whose memory then holds the copy and the gradient; and the retained samples."""
        return super().stored_bytes(task, size) + data_bytes(task)
