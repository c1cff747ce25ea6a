"""A network that the RTL trains in seconds, with operators whose work might depend on data: for the spread of cycles."""

from __future__ import annotations

import torch
from torch import nn


def factory() -> tuple[nn.Module, torch.Tensor]:
    """A convolution, a max pool, a depthwise convolution, SiLU, average pool and linear layer; inputs [1, 2, 8, 8]."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    return model, torch.zeros(1, 2, 8, 8)
