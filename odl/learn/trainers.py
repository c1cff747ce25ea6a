"""The two trainers: a compiled network, and PyTorch in float32."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from typing_extensions import override

from odl.errors import InputError
from odl.learn.loops import one_thread
from odl.learn.trainer import Floats, Targets, Trainer, Weights, load, outputs, weights_of
from odl.run.net import Net


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
