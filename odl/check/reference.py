"""One training step in float64 PyTorch, from exactly the state that the device has."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from odl.check.masks import AlignedMasks, DeviceActivation
from odl.operators.base import Array
from odl.options import Adam, Optimizer
from odl.trace.tracing import LOSSES


@dataclass(frozen=True)
class Sample:
    """One call's input, target and sample weights, in PyTorch's shapes."""

    x: Array
    target: Array
    weight: Array


Activations = Sequence[DeviceActivation]


@dataclass(frozen=True)
class ReferenceStep:
    """What the step gives: mean loss, gradients, parameters, statistics and optimizer state afterwards."""

    loss: float
    gradients: Mapping[str, Array]
    tensors: Mapping[str, Array]
    flips: Mapping[str, float]


class Reference:
    """The module in float64 with torch.optim; its state is set before every step."""

    def __init__(self, module: nn.Module, loss: str, optimizer: Optimizer, trainable: Sequence[str]) -> None:
        self._module = copy.deepcopy(module).double()
        self._loss, self._optimizer, self._trainable = loss, optimizer, tuple(trainable)

    def step(
        self,
        state: Mapping[str, Array],
        samples: Sequence[Sample],
        learning_rate: float,
        done: int,
        activations: Sequence[Activations] = (),
        band: float = 0.0,
    ) -> ReferenceStep:
        """Mean gradient over the samples' losses, then one update; `done` updates came before.

        `activations` are the device's for every sample, `band` the rounding band of the masks (odl.check.masks).
        """
        module = self._module
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        with torch.no_grad():
            for name, tensor in tensors.items():
                if name in state:
                    tensor.copy_(torch.from_numpy(np.array(state[name], dtype=np.float64)))
        parameters = {name: tensors[name] for name in self._trainable}
        optimizer = self._make_optimizer(parameters, state, learning_rate, done)
        optimizer.zero_grad()
        total = 0.0
        flips: dict[str, float] = {}
        for index, sample in enumerate(samples):
            masks = AlignedMasks(activations[index] if activations else (), band)
            with masks:
                loss = self._sample_loss(sample) / len(samples)
            loss.backward()
            flips = {name: max(share, flips.get(name, 0.0)) for name, share in masks.flips.items()}
            total += float(loss.detach())
        gradients = {
            name: np.zeros(item.shape) if item.grad is None else item.grad.numpy().copy()
            for name, item in parameters.items()
        }
        optimizer.step()
        after = {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}
        for name, parameter in parameters.items():
            for key, value in optimizer.state.get(parameter, {}).items():
                if key != "step" and value is not None:
                    after[f"{name}.{key}"] = value.detach().numpy().copy()
        return ReferenceStep(total, gradients, after, flips)

    def infer(self, state: Mapping[str, Array], x: Array) -> Array:
        """The output in evaluation mode."""
        module = copy.deepcopy(self._module).eval()
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        with torch.no_grad():
            for name, tensor in tensors.items():
                if name in state:
                    tensor.copy_(torch.from_numpy(np.array(state[name], dtype=np.float64)))
            output: Array = module(torch.from_numpy(x.astype(np.float64))).numpy()
            return output

    def _sample_loss(self, sample: Sample) -> torch.Tensor:
        x, target = (torch.from_numpy(item.astype(np.float64)) for item in (sample.x, sample.target))
        weight = torch.from_numpy(sample.weight.astype(np.float64))
        output = self._module(x)
        losses = LOSSES[self._loss](output, target, reduction="none")
        per_sample = losses.reshape(len(x), -1)
        per_sample = per_sample.sum(1) if self._loss == "cross_entropy" else per_sample.mean(1)
        return (weight * per_sample).mean()

    def _make_optimizer(
        self,
        parameters: Mapping[str, torch.Tensor],
        state: Mapping[str, Array],
        learning_rate: float,
        done: int,
    ) -> torch.optim.Optimizer:
        options = self._optimizer
        chosen = list(parameters.values())
        if isinstance(options, Adam):
            optimizer: torch.optim.Optimizer = torch.optim.Adam(
                chosen, learning_rate, options.betas, options.eps, options.weight_decay
            )
            keys = ["exp_avg", "exp_avg_sq"]
        else:
            optimizer = torch.optim.SGD(
                chosen, learning_rate, options.momentum, weight_decay=options.weight_decay
            )
            keys = ["momentum_buffer"] if options.momentum else []
        for name, parameter in parameters.items():
            for key in keys:
                stored = torch.from_numpy(np.array(state[f"{name}.{key}"], dtype=np.float64))
                optimizer.state[parameter][key] = stored
            if isinstance(options, Adam):
                optimizer.state[parameter]["step"] = torch.tensor(float(done))
        return optimizer
