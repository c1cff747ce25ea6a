"""Small networks that several tests compile, each compiled once a test process."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

import odl
from odl.codegen.project import write_project

INPUT = (3, 5, 4)
CLASSES = 3


def tiny(seed: int = 0) -> nn.Module:
    """Convolution, batch norm, ReLU, linear: one of each kind of layer."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 5 * 4, CLASSES),
    )


def factory() -> tuple[nn.Module, torch.Tensor]:
    """`networks.py:factory` on a command line."""
    return tiny(), torch.zeros(1, *INPUT)


@cache
def tiny_build(batch: int = 1, **options: Any) -> odl.Build:
    """The tiny network compiled with these options."""
    return odl.compile(tiny(), torch.zeros(batch, *INPUT), name="tiny", **{"prefix": "net", **options})


def samples(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs [count, 3, 5, 4] and labels [count]."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, *INPUT, generator=generator)
    return x, torch.randint(CLASSES, (count,), generator=generator)


def written(build: odl.Build, directory: Path) -> Path:
    """The project in a directory of the test's own; `build.load()` keeps using the build's."""
    write_project(build.compiled.network, directory)
    return directory
