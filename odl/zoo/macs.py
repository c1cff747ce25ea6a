"""Multiply-accumulate operations of a module's forward pass and of one training step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates at batch 1, of convolutions and dense layers only.

    `forward` is one inference; `step` adds the weight gradient of every trained layer and the input gradient
    of every layer whose input depends on a trained parameter (so the first layer has none).
    """

    forward: int
    step: int


class _Counter:
    """Sums over the calls of every convolution and dense layer; used as a forward hook."""

    def __init__(self) -> None:
        self.forward = 0
        self.step = 0

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        # Every output element is one dot product with one row of the weight, whatever the groups and padding.
        macs = output.numel() // output.shape[0] * math.prod(layer.weight.shape[1:])
        passes = 1 + int(layer.weight.requires_grad) + int(inputs[0].requires_grad)
        self.forward += macs
        self.step += passes * macs


def count_macs(module: nn.Module, input_shape: tuple[int, ...]) -> Macs:
    """MACs of `module` for one sample of `input_shape` (without the batch axis).

    Autograd itself says which gradients are needed: frozen parameters (`requires_grad=False`) need none. The
    module is left as it was.
    """
    counter = _Counter()
    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(counter) for layer in layers]
    modes = [(m, m.training) for m in module.modules()]
    parameter = next(module.parameters(), None)
    try:
        module.eval()  # running statistics must not move, and batch norm accepts a batch of one
        with torch.enable_grad():
            module(torch.zeros(1, *input_shape, dtype=None if parameter is None else parameter.dtype))
    finally:
        for hook in hooks:
            hook.remove()
        for part, mode in modes:
            part.training = mode
    return Macs(counter.forward, counter.step)
