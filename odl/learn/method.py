"""What a method is: one file of odl/learn/methods with a frozen dataclass, its fields the settings with their defaults."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from odl.learn.network import Size
from odl.learn.task import ContinualTask, ForgettingTask, Stage
from odl.learn.trainer import Floats, Trainer


@dataclass(frozen=True)
class Method(ABC):
    """`paper` and `equations` say where it comes from; a departure from the paper is stated in the class's docstring.

    `exact`: the state afterwards is that of a network that never saw what was forgotten.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    equations: ClassVar[str]
    exact: ClassVar[bool] = False


class ContinualRun(ABC):
    """A method at work on one task. `predict` is one forward pass unless the method says otherwise."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    @abstractmethod
    def learn(self, stage: Stage) -> None:
        """Take in a stage's stream, each sample once."""

    def predict(self, x: Floats) -> NDArray[np.int64]:
        """Classes [N] of x [N, …]; −1 where an output is not finite."""
        return classified(self.trainer.infer(x))

    @property
    def stored_bytes(self) -> int:
        """Bytes on a device beyond plain training, as of now: replay, statistics, copies of weights."""
        return 0


class ContinualMethod(Method):
    """Learns stage after stage."""

    @abstractmethod
    def begin(self, trainer: Trainer, task: ContinualTask, generator: np.random.Generator) -> ContinualRun:
        """Start from the trainer's weights, which were pretrained on the task's first stage."""


class ForgettingMethod(Method):
    """Makes a network forget."""

    @abstractmethod
    def forget(self, trainer: Trainer, task: ForgettingTask, generator: np.random.Generator) -> None:
        """Change the trainer's weights; `task.forget` and `task.retained` are the data that a device still has."""

    @abstractmethod
    def stored_bytes(self, task: ForgettingTask, size: Size) -> int:
        """Bytes on a device beyond plain training, without the data that are to be forgotten."""


def classified(logits: Floats) -> NDArray[np.int64]:
    """The class of each row; −1 where a number is not finite."""
    return np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), -1).astype(np.int64)


def probabilities(logits: Floats, temperature: float = 1.0) -> Floats:
    """Softmax of logits [N, classes] over a temperature."""
    shifted = (logits - logits.max(axis=1, keepdims=True)).astype(np.float64) / temperature
    shares = np.exp(shifted)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)


def losses(logits: Floats, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cross-entropy of each sample [N]."""
    wide = logits.astype(np.float64)
    highest = wide.max(axis=1, keepdims=True)
    logarithm = np.log(np.exp(wide - highest).sum(axis=1)) + highest[:, 0]
    return np.asarray(logarithm - wide[np.arange(len(labels)), labels])


def data_bytes(task: ForgettingTask) -> int:
    """Bytes of the retained samples that a method needs: int8 and a label each."""
    return len(task.retained) * (int(np.prod(task.network.input_shape)) + 1)
