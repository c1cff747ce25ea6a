"""What a method sees of a network that learns: compiled C on any target, or PyTorch in float32 as the reference.

A trainer updates with plain SGD, θ ← θ − rate · mean gradient. Methods that need the gradient itself get it by difference
(`Trainer.gradient`), so that whatever computes an update can be asked.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from typing_extensions import override

from odl.errors import InputError
from odl.learn.loops import one_thread
from odl.run.net import Net

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


class NetTrainer(Trainer):
    """A compiled network (batch 1, plain SGD, `accumulate`, `learn` with importance) on this machine or a simulator."""

    def __init__(self, net: Net, twin: nn.Module) -> None:
        super().__init__(twin)
        self._net = net

    @override
    def _accumulate(self, x: Floats, y: Targets, factors: NDArray[np.floating]) -> float:
        losses = [
            self._net.accumulate(x[i : i + 1], y[i : i + 1], np.float32(factors[i : i + 1]))
            for i in range(len(x))
        ]
        return float(np.mean(losses))

    @override
    def _apply(self) -> bool:
        before = self._net.skipped_steps
        self._net.apply()
        return self._net.skipped_steps == before

    @override
    def _infer(self, x: Floats) -> Floats:
        return np.asarray(self._net.infer(x), np.float32)

    @override
    def _set_rate(self, rate: float) -> None:
        self._net.set_learning_rate(rate)

    @override
    def weights(self) -> dict[str, Floats]:
        return {name: np.array(self._net.tensor(name), np.float32) for name in self.names}

    @override
    def set_weights(self, weights: Weights) -> None:
        state = {name: torch.from_numpy(np.array(array, np.float32)) for name, array in weights.items()}
        self._net.load_state_dict({**self._net.state_dict(), **state})

    @override
    def importance(self, x: Floats, y: Targets) -> dict[str, Floats]:
        self.costs.backward += len(x)
        self._net.call("reset_importance")
        for i in range(len(x)):
            self._net.call("importance", x[i : i + 1], y[i : i + 1])
        return {
            name: np.asarray(self._net.tensor(f"{name}.importance") / len(x), np.float32)
            for name in self.names
        }


class TorchTrainer(Trainer):
    """PyTorch in float32 on one thread, so that the same run gives the same weights."""

    def __init__(self, module: nn.Module) -> None:
        """Trains a copy of `module`, which must have no batch norm that learns: its batch norm is folded."""
        super().__init__(copy.deepcopy(module))
        self._module = copy.deepcopy(module).eval()
        self._count = 0

    @override
    def _accumulate(self, x: Floats, y: Targets, factors: NDArray[np.floating]) -> float:
        with one_thread():
            logits = self._module(torch.tensor(x))
            losses = nn.functional.cross_entropy(logits, torch.tensor(y), reduction="none")
            loss = (losses * torch.tensor(np.asarray(factors, np.float32))).sum()
            loss.backward()
        self._count += len(x)
        return float(loss.detach()) / len(x)

    @override
    def _apply(self) -> bool:
        if self._count == 0:
            raise InputError("there are no gradients to update with")
        gradients = [item.grad for item in self._trained() if item.grad is not None]
        finite = all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
        with torch.no_grad():
            for parameter in self._trained():
                if finite and parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=self.rate / self._count)
                parameter.grad = None
        self._count = 0
        return finite

    @override
    def _infer(self, x: Floats) -> Floats:
        return outputs(self._module, x)

    @override
    def _set_rate(self, rate: float) -> None:
        pass

    @override
    def weights(self) -> dict[str, Floats]:
        return weights_of(self._module)

    @override
    def set_weights(self, weights: Weights) -> None:
        load(self._module, weights)

    @override
    def importance(self, x: Floats, y: Targets) -> dict[str, Floats]:
        self.costs.backward += len(x)
        sums = [torch.zeros_like(item, dtype=torch.float64) for item in self._trained()]
        with one_thread():
            for i in range(len(x)):
                loss = nn.functional.cross_entropy(
                    self._module(torch.tensor(x[i : i + 1])), torch.tensor(y[i : i + 1])
                )
                for total, gradient in zip(sums, torch.autograd.grad(loss, self._trained()), strict=True):
                    total += gradient.double() ** 2
        means = [np.asarray(total.numpy() / len(x), np.float32) for total in sums]
        return dict(zip(self.names, means, strict=True))

    def _trained(self) -> list[nn.Parameter]:
        return [item for item in self._module.parameters() if item.requires_grad]


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
