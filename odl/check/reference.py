"""One training step in float64 PyTorch, from exactly the state that the device has."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from odl.check.masks import AlignedMasks, Flips, Observed, rounding_noise
from odl.graph.operator import Array
from odl.optimizers.base import Optimizer
from odl.trace.tracing import LOSSES

Activations = Sequence[Observed]


@dataclass(frozen=True)
class Sample:
    """One call's input, target and sample weights, in PyTorch's shapes, and the device's activations."""

    x: Array
    target: Array
    weight: Array
    activations: Activations = ()


@dataclass(frozen=True)
class ReferenceStep:
    """What the step gives: mean loss, gradients, parameters, statistics and optimizer state afterwards.

    `flips` says how many units' activation masks follow the device, `activations` how far the device's activations are
    from those that follow from the activations before them. `noise` is how far the same gradients and statistics
    come out in float32 PyTorch: what rounding does to a gradient that nearly cancels, such as that of a bias before a
    batch norm in training mode, or to the variance of a few values in a deep layer, is measured by it and not by the
    tensor's own norm.
    """

    loss: float
    gradients: Mapping[str, Array]
    tensors: Mapping[str, Array]
    flips: Mapping[str, Flips]
    activations: Mapping[str, float]
    noise: Mapping[str, float]


class Reference:
    """The module in float64 with torch.optim; its state is set before every step."""

    def __init__(self, module: nn.Module, loss: str, optimizer: Optimizer, trainable: Sequence[str]) -> None:
        self._module = copy.deepcopy(module).double()
        self._single = copy.deepcopy(module).float()
        self._loss, self._optimizer, self._trainable = loss, optimizer, tuple(trainable)

    def step(
        self,
        state: Mapping[str, Array],
        samples: Sequence[Sample],
        learning_rate: float,
        done: int,
        band: float = 0.0,
        coarseness: float = 0.0,
        update_with: Mapping[str, Array] | None = None,
    ) -> ReferenceStep:
        """Mean gradient over the samples' losses, then one update; `done` updates came before.

        `band` is the least rounding band of the masks (odl.check.masks), `coarseness` how much more than float32 PyTorch
        the device may round.
        `update_with` are gradients to update with instead: an optimizer that divides by their size can only be judged by
        its update from the device's own gradients.
        """
        bands = self._bands(state, samples, coarseness) if coarseness else [[]] * len(samples)
        loss, gradients, masks = self._backward(self._module, state, samples, band, bands)
        _, single, _ = self._backward(self._single, state, samples, band, bands)
        noise = {name: float(np.linalg.norm(single[name] - item)) for name, item in gradients.items()}
        tensors = _tensors(self._module)
        for name, item in _tensors(self._single).items():
            if name not in noise and item.is_floating_point():
                noise[name] = float(np.linalg.norm((item.detach().double() - tensors[name].detach()).numpy()))
        parameters = {name: tensors[name] for name in self._trainable}
        optimizer = self._make_optimizer(parameters, state, learning_rate, done)
        for name, gradient in (update_with or {}).items():
            parameters[name].grad = torch.from_numpy(np.array(gradient, dtype=np.float64))
        optimizer.step()
        after = {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}
        for name, parameter in parameters.items():
            for key, value in optimizer.state.get(parameter, {}).items():
                if key != "step" and value is not None:
                    after[f"{name}.{key}"] = value.detach().numpy().copy()
        flips: dict[str, Flips] = {}
        errors: dict[str, float] = {}
        for sample in masks:
            for name, found in sample.flips.items():
                flips[name] = max(flips.get(name, found), found, key=lambda item: item.share - item.explained)
            for name, error in sample.errors.items():
                errors[name] = float(np.maximum(error, errors.get(name, 0.0)))  # keeps NaN
        return ReferenceStep(loss, gradients, after, flips, errors, noise)

    def run(
        self, state: Mapping[str, Array], samples: Sequence[Sample], learning_rate: float
    ) -> dict[str, Array]:
        """Parameters and statistics after one update for each sample, from the device's state but by itself."""
        _load(self._module, state)
        tensors = _tensors(self._module)
        optimizer = self._make_optimizer(
            {name: tensors[name] for name in self._trainable}, state, learning_rate, 0
        )
        for sample in samples:
            self._module.zero_grad()
            self._sample_loss(self._module, sample).backward()
            optimizer.step()
        return {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}

    def _backward(
        self,
        module: nn.Module,
        state: Mapping[str, Array],
        samples: Sequence[Sample],
        band: float,
        bands: Sequence[Sequence[float]],
    ) -> tuple[float, dict[str, Array], list[AlignedMasks]]:
        """Mean loss and gradients of the samples in the module's own precision."""
        _load(module, state)
        module.zero_grad()
        total = 0.0
        used: list[AlignedMasks] = []
        for sample, noise in zip(samples, bands, strict=True):
            masks = AlignedMasks(sample.activations, band, noise)
            with masks:
                loss = self._sample_loss(module, sample) / len(samples)
            loss.backward()
            total += float(loss.detach())
            used.append(masks)
        tensors = _tensors(module)
        gradients = {}
        for name in self._trainable:
            gradient = tensors[name].grad
            shape = tuple(tensors[name].shape)
            gradients[name] = np.zeros(shape) if gradient is None else gradient.double().numpy().copy()
        return total, gradients, used

    def _bands(
        self, state: Mapping[str, Array], samples: Sequence[Sample], coarseness: float
    ) -> list[list[float]]:
        """Half width of the rounding band at every kink of every sample: the noise of a float32 forward pass, scaled."""
        recorded: list[list[AlignedMasks]] = []
        for module in (self._module, self._single):
            _load(module, state)
            recorded.append([AlignedMasks(sample.activations, 0.0) for sample in samples])
            for sample, masks in zip(samples, recorded[-1], strict=True):
                with torch.no_grad(), masks:
                    self._sample_loss(module, sample)
        return [
            [coarseness * noise for noise in rounding_noise(exact, single)]
            for exact, single in zip(*recorded, strict=True)
        ]

    def infer(
        self, state: Mapping[str, Array], x: Array, activations: Activations = (), band: float = 0.0
    ) -> tuple[Array, Mapping[str, float]]:
        """The output in evaluation mode, and the errors of the device's activations on the way to it."""
        module = copy.deepcopy(self._module).eval()
        _load(module, state)
        masks = AlignedMasks(activations, band)
        with torch.no_grad(), masks:
            output: Array = module(torch.from_numpy(x.astype(np.float64))).numpy()
        return output, masks.errors

    def _sample_loss(self, module: nn.Module, sample: Sample) -> torch.Tensor:
        dtype = next(module.parameters()).dtype
        x, target, weight = (
            torch.from_numpy(item).to(dtype) for item in (sample.x, sample.target, sample.weight)
        )
        output = module(x)
        losses = LOSSES[self._loss](output, target, reduction="none")
        per_sample = losses.reshape(len(x), -1)
        per_sample = per_sample.sum(1) if self._loss == "cross_entropy" else per_sample.mean(1)
        mean: torch.Tensor = (weight * per_sample).mean()
        return mean

    def _make_optimizer(
        self,
        parameters: Mapping[str, torch.Tensor],
        state: Mapping[str, Array],
        learning_rate: float,
        done: int,
    ) -> torch.optim.Optimizer:
        optimizer = self._optimizer.twin(list(parameters.values()), learning_rate)
        for name, parameter in parameters.items():
            for kept in self._optimizer.states:
                stored = torch.from_numpy(np.array(state[f"{name}.{kept.name}"], dtype=np.float64))
                optimizer.state[parameter][kept.name] = stored
            # an optimizer that does not count its updates leaves this alone
            optimizer.state[parameter]["step"] = torch.tensor(float(done))
        return optimizer


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _load(module: nn.Module, state: Mapping[str, Array]) -> None:
    """Copy the device's parameters and statistics into the module."""
    with torch.no_grad():
        for name, tensor in _tensors(module).items():
            if name in state:
                tensor.copy_(torch.from_numpy(np.array(state[name], dtype=np.float64)))
