"""Small networks at random, with every kind of layer and option, that drive the generated C where the zoo does not go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

import odl

_OPTIMIZERS = (
    odl.SGD(lr=0.01),
    odl.SGD(lr=0.01, momentum=0.9, weight_decay=0.001),
    odl.Adam(),
    odl.AdamW(),
    odl.RMSprop(weight_decay=0.01),
)


class _Residual(nn.Module):
    """What the inner layers compute, added to their input."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = self.inner(x)
        return x + changed


@dataclass(frozen=True)
class Drawn:
    """A network, its input's shape with the batch, and the options it is compiled with."""

    module: nn.Module
    shape: tuple[int, ...]
    options: Mapping[str, Any]
    cores: int


def draw(seed: int) -> Drawn:
    """The network of that number; some have no convolution, some no class."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    batch = int(random.integers(1, 4))
    channels, height, width = (int(item) for item in random.integers((1, 4, 4), (6, 13, 11)))
    layers: list[nn.Module] = []
    x = torch.zeros(batch, channels, height, width)
    for _ in range(int(random.integers(1, 5)) if random.random() < 0.9 else 0):
        for layer in _block(random, x):
            layers.append(layer)
            x = layer(x)
        if x.shape[2] < 3 or x.shape[3] < 3:
            break
    pool = random.random()
    if pool < 0.3 and layers:
        layers.append(nn.AdaptiveAvgPool2d(1))
    layers.append(nn.Flatten())
    features = nn.Sequential(*layers)(torch.zeros(batch, channels, height, width)).shape[1]
    if random.random() < 0.4:
        hidden = int(random.integers(2, 40))
        layers += [nn.Linear(features, hidden, bias=bool(random.random() < 0.7))]
        layers += [nn.BatchNorm1d(hidden)] if random.random() < 0.3 else []
        layers += [nn.ReLU() if random.random() < 0.6 else nn.SiLU()]
        features = hidden
    layers.append(nn.Linear(features, int(random.integers(2, 20))))
    shape = (batch, channels, height, width)
    return Drawn(nn.Sequential(*layers), shape, _options(random, layers), int(random.choice([1, 2, 3, 8])))


def _block(random: np.random.Generator, x: torch.Tensor) -> list[nn.Module]:
    """A convolution with what may follow it, a pool, or a residual; each fits an input like x."""
    channels, height, width = x.shape[1:]
    kind = random.random()
    kernel = _pair(*(int(random.integers(1, min(side, 5) + 1)) for side in (height, width)))
    padding = _pair(*(int(random.integers(0, side // 2 + 1)) for side in kernel))
    stride = _pair(*(int(item) for item in random.choice([1, 1, 2, 3], 2)))
    if kind < 0.15:
        pools = (
            nn.MaxPool2d(kernel, stride, padding),
            nn.AvgPool2d(
                kernel,
                stride,
                padding,
                count_include_pad=bool(random.random() < 0.5),
                divisor_override=3 if random.random() < 0.2 else None,
                ceil_mode=bool(random.random() < 0.3),
            ),
        )
        return [pools[int(random.integers(2))]]
    if kind < 0.3:
        return [_Residual(nn.Conv2d(channels, channels, 3, padding=1)), _activation(random)]
    depthwise = random.random() < 0.4
    outputs = channels if depthwise else int(random.integers(1, 21))
    convolution = nn.Conv2d(
        channels,
        outputs,
        kernel,
        stride,
        padding,
        groups=channels if depthwise else 1,
        bias=bool(random.random() < 0.6),
    )
    norm = [nn.BatchNorm2d(outputs)] if random.random() < 0.4 else []
    return [convolution, *norm, _activation(random)]


def _pair(first: int, second: int) -> tuple[int, int]:
    """Of the height and of the width."""
    return first, second


def _activation(random: np.random.Generator) -> nn.Module:
    kinds = (nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.Hardtanh(-0.5, 2.0), nn.Identity())
    return kinds[int(random.integers(len(kinds)))]


def _options(random: np.random.Generator, layers: list[nn.Module]) -> dict[str, Any]:
    options: dict[str, Any] = {
        "dtype": str(random.choice(["fp32", "fp16", "mixed"])),
        "optimizer": _OPTIMIZERS[int(random.integers(len(_OPTIMIZERS)))],
        "accumulate": bool(random.random() < 0.4),
        "loss": "mse" if random.random() < 0.3 else "cross_entropy",
        "bn": str(random.choice(["fold", "train", "frozen"])),
        "update": str(random.choice(["full", "full", "bias", "last:1"])),
    }
    if random.random() < 0.4:
        options |= {"target": "cv32e40p"}
        if random.random() < 0.7:
            options |= {"l1": int(random.choice([4096, 8192, 16384]))}
    return options
