"""What a step's gradients are about, before anything is compiled: for the first loss scale, and to warn of lost updates.

One training step in float64 PyTorch from the initial weights, on an input of normal random numbers and random targets.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from odl.options import Options
from odl.trace.tracing import LOSSES

#: fp16's largest number and the smallest with all its digits (IEEE 754-2019, binary16).
_LARGEST, _SMALLEST_NORMAL = 65504.0, 2.0**-14
#: A scaled gradient's root mean square should be so far above the smallest normal number that few elements are below it.
_ROOM_BELOW = 16.0
#: A loss scale that is raised leaves so much room for gradients that grow.
_ROOM_ABOVE = 4.0
_LARGEST_SCALE = 65536.0
#: A gradient that is so much smaller than the largest is float64's rounding noise.
_CANCELLED = 1e-12


@dataclass(frozen=True)
class GradientEstimate:
    """`largest`: of all gradients, activations' included. `typical`: root mean square of each weight matrix's gradient.

    `swallowed`: the share of the elements of one update that fp16 weights round away.
    """

    largest: float
    typical: Mapping[str, float]
    swallowed: float

    def loss_scale(self, start: float) -> float:
        """A power of two times `start`: less where that overflows, more where a gradient lies below fp16's normal range."""
        scale, smallest = start, self._smallest
        while scale > 1 and self.largest * scale > _LARGEST:
            scale /= 2
        while (
            smallest * scale < _SMALLEST_NORMAL * _ROOM_BELOW
            and scale < _LARGEST_SCALE
            and self.largest * scale * 2 * _ROOM_ABOVE <= _LARGEST
        ):
            scale *= 2
        return scale

    def below_normal(self, scale: float) -> list[str]:
        """The parameters most of whose gradient is below fp16's normal range at a loss scale."""
        return [name for name, size in self.typical.items() if self._noise < size < _SMALLEST_NORMAL / scale]

    @property
    def _smallest(self) -> float:
        return min((size for size in self.typical.values() if size > self._noise), default=math.inf)

    @property
    def _noise(self) -> float:
        """What float64's rounding leaves of a gradient that cancels, as that of a bias before batch norm does."""
        return self.largest * _CANCELLED


def estimate_gradients(
    module: nn.Module, shape: Collection[int], trainable: Collection[str], options: Options
) -> GradientEstimate:
    """The estimate for a module in the modes that it trains in; shape [N, …] is its input's."""
    module = copy.deepcopy(module).double()
    generator = torch.Generator().manual_seed(0)
    largest = [0.0]

    def watch(layer: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.requires_grad:
            output.register_hook(lambda gradient: largest.append(float(gradient.abs().max())))

    for layer in module.modules():
        layer.register_forward_hook(watch)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in trainable)
    output = module(torch.randn(*shape, generator=generator).double())
    target = torch.randn(output.shape, generator=generator).double()
    if options.loss == "cross_entropy":
        target = torch.softmax(4 * target, dim=1)
    LOSSES[options.loss](output, target).backward()
    trained = {name: item for name, item in module.named_parameters() if item.grad is not None}
    gradients = {name: item.grad for name, item in trained.items() if item.grad is not None}
    largest += [float(gradient.abs().max()) for gradient in gradients.values()]
    typical = {name: float(item.square().mean().sqrt()) for name, item in gradients.items() if item.dim() > 1}
    return GradientEstimate(max(largest), typical, _swallowed(list(trained.values()), options))


def _swallowed(parameters: list[nn.Parameter], options: Options) -> float:
    """The share of the elements that one update moves, and fp16 rounds back to where they were."""
    before = [item.detach().half() for item in parameters]
    with torch.no_grad():
        for item, stored in zip(parameters, before, strict=True):
            item.copy_(stored)
    options.optimizer.twin(parameters, options.optimizer.lr).step()
    moved = lost = 0
    for item, stored in zip(parameters, before, strict=True):
        moves = item.detach() != stored.double()
        moved += int(moves.sum())
        lost += int((moves & (item.detach().half() == stored)).sum())
    return lost / moved if moved else 0.0
