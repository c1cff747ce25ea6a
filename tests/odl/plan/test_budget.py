"""A budget that is too small names one that is large enough: exactly that compiles, one byte less does not."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

import odl
from odl.errors import InputError
from tests.networks import INPUT, tiny

CASES = {
    "fp32": {"dtype": "fp32"},
    "fp16 with momentum": {"dtype": "fp16", "optimizer": odl.SGD(0.01, momentum=0.9)},
    "mixed with running statistics": {"dtype": "mixed", "bn": "train"},
    "mixed, gradients accumulated": {"dtype": "mixed", "accumulate": True},
    "Adam, last layer": {"dtype": "mixed", "optimizer": odl.Adam(), "update": "last:1"},
}


def residual() -> nn.Module:
    """Lives of many lengths: what greedy packing leaves gaps between."""

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.b(torch.relu(self.a(x))) + x)

    torch.manual_seed(0)
    return nn.Sequential(Block(5), Block(2), Block(7), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3))


def needed(module: nn.Module, batch: int, memory: int, options: dict[str, object]) -> int:
    """The budget that the refusal of `memory` bytes names."""
    with pytest.raises(InputError) as refused:
        odl.compile(module, torch.zeros(batch, *INPUT), memory=memory, **options)
    found = re.search(r"or a memory of ([\d,]+) bytes \(memory=(\d+)\)$", str(refused.value))
    assert found is not None, refused.value
    assert int(found[1].replace(",", "")) == int(found[2])
    return int(found[2])


@pytest.mark.parametrize(("network", "batch"), [(tiny, 1), (residual, 3)])
@pytest.mark.parametrize("case", CASES)
def test_the_budget_that_is_named_is_the_smallest_that_works(case, network, batch):
    module, options = network(), CASES[case]
    size = needed(module, batch, 1, options)
    build = odl.compile(module, torch.zeros(batch, *INPUT), memory=size, **options)
    assert build.memory["ram"]["peak_bytes"] == size
    assert odl.compile(module, torch.zeros(batch, *INPUT), **options).memory["ram"]["peak_bytes"] == size
    assert needed(module, batch, size - 1, options) == size
