"""What a method sees of a network that learns: compiled C on any target, or PyTorch in float32 as the reference.

A trainer updates with plain SGD, θ ← θ − rate · mean gradient. Methods that need the gradient itself get it by difference
(`Trainer.gradient`), so that whatever computes an update can be asked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from odl.errors import InputError
from odl.learn.loops import one_thread

Floats = NDArray[np.float32]
Weights = Mapping[str, Floats]
"""The trained parameters by name, in PyTorch's shapes."""
Targets = NDArray[np.int64] | Floats
"""Class numbers [N], or probabilities [N, classes]."""
Factors = NDArray[np.floating] | None
"""What each sample's loss is multiplied with [N], also below zero; None: 1."""


@dataclass
class Costs:
    """What was computed: samples inferred, samples through forward and backward pass, updates, and of these the skipped."""

    forward: int = 0
    backward: int = 0
    updates: int = 0
    skipped: int = 0


class Trainer(ABC):
    """A network under training. The loss is cross-entropy; a sample's factor multiplies it."""

    def __init__(self, twin: nn.Module) -> None:
        """`twin` is a PyTorch module of the same structure, which the trainer keeps."""
        self.costs = Costs()
        self.rate = 0.0
        self._twin = twin
        self.names = tuple(name for name, item in twin.named_parameters() if item.requires_grad)

    def accumulate(self, x: Floats, y: Targets, factors: Factors = None) -> float:
        """Forward and backward pass of x [N, …], adding up the gradients of loss · factor; the mean of these losses."""
        self.costs.backward += len(x)
        return self._accumulate(x, y, np.ones(len(x)) if factors is None else np.asarray(factors))

    def apply(self) -> bool:
        """Update with the sum of gradients over the number of samples; False where the update was skipped (overflow)."""
        done = self._apply()
        self.costs.updates += 1
        self.costs.skipped += not done
        return done

    def train(self, x: Floats, y: Targets, factors: Factors = None) -> float:
        """One update from one micro-batch."""
        loss = self.accumulate(x, y, factors)
        self.apply()
        return loss

    def infer(self, x: Floats) -> Floats:
        """Logits [N, classes] of x [N, …]."""
        self.costs.forward += len(x)
        return self._infer(x)

    def set_learning_rate(self, rate: float) -> None:
        """The rate of the following updates."""
        self.rate = rate
        self._set_rate(rate)

    def gradient(self, x: Floats, y: Targets, factors: Factors = None) -> dict[str, Floats]:
        """The mean gradient of loss · factor over x [N, …]: one update of rate 1, looked at and taken back.

        Weights and rate are as before. InputError where the update overflows again and again.
        """
        before, rate = self.weights(), self.rate
        self.set_learning_rate(1.0)
        for _ in range(20):  # after an overflow the loss scale is lower
            self.accumulate(x, y, factors)
            if self.apply():
                break
        else:
            raise InputError(
                "the gradient overflows at every loss scale: the samples or the weights are not usable"
            )
        after = self.weights()
        self.set_weights(before)
        self.set_learning_rate(rate)
        return {name: before[name] - after[name] for name in self.names}

    def twin(self) -> nn.Module:
        """A PyTorch module of the trainer's own with the weights that it has now: to look at, not to change."""
        load(self._twin, self.weights())
        return self._twin

    @abstractmethod
    def weights(self) -> dict[str, Floats]:
        """A copy of the trained parameters."""

    @abstractmethod
    def set_weights(self, weights: Weights) -> None:
        """Overwrite the trained parameters; InputError where names or shapes do not fit."""

    @abstractmethod
    def importance(self, x: Floats, y: Targets) -> dict[str, Floats]:
        """The mean over x [N, …] of the squared gradient of each single sample's loss, by parameter."""

    @abstractmethod
    def _accumulate(self, x: Floats, y: Targets, factors: NDArray[np.floating]) -> float: ...

    @abstractmethod
    def _apply(self) -> bool: ...

    @abstractmethod
    def _infer(self, x: Floats) -> Floats: ...

    @abstractmethod
    def _set_rate(self, rate: float) -> None: ...


def weights_of(module: nn.Module) -> dict[str, Floats]:
    """A copy of a module's trained parameters."""
    return {n: p.detach().numpy().copy() for n, p in module.named_parameters() if p.requires_grad}


def load(module: nn.Module, weights: Weights) -> None:
    """Overwrite a module's trained parameters; InputError where names or shapes do not fit."""
    own = {name: item for name, item in module.named_parameters() if item.requires_grad}
    wrong = own.keys() ^ weights.keys() or {n for n in own if tuple(own[n].shape) != np.shape(weights[n])}
    if wrong:
        raise InputError(f"the weights do not fit: {', '.join(sorted(wrong)[:3])}")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(torch.from_numpy(np.array(weights[name], np.float32)))


def outputs(module: nn.Module, x: Floats, batch_size: int = 64) -> Floats:
    """What a module in evaluation mode computes of x [N, …], on one thread."""
    module.eval()
    with one_thread(), torch.no_grad():
        parts = [module(torch.tensor(x[i : i + batch_size])).numpy() for i in range(0, len(x), batch_size)]
    return np.concatenate(parts)
