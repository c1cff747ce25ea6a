"""SiLU and its gradient: against PyTorch, and the expression that PyTorch writes the gradient as."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import odl
from odl.operators.silu import Silu, SiluGradient


def network() -> nn.Module:
    """SiLU behind a convolution and behind a linear layer."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(80, 9), nn.SiLU(), nn.Linear(9, 3)
    )


@settings(max_examples=20)
@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 2**32 - 1))
def test_references_are_pytorch(shape: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    x, dy = random.standard_normal(shape) * 4, random.standard_normal(shape)
    given_x = torch.tensor(x, requires_grad=True)
    y = functional.silu(given_x)
    y.backward(torch.tensor(dy))
    np.testing.assert_allclose(Silu().reference(x=x)["y"], y.detach().numpy(), rtol=1e-12)
    assert given_x.grad is not None
    np.testing.assert_allclose(SiluGradient().reference(dy=dy, x=x)["dx"], given_x.grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "mixed"])
def test_every_gradient_on_the_host(dtype: str) -> None:
    report = odl.compile(network(), torch.zeros(2, 3, 5, 4), dtype=dtype).verify(steps=2)
    assert report.ok, report.worst


@pytest.mark.parametrize("dtype", ["fp16", "mixed"])
def test_bits_of_the_cluster_are_the_hosts(dtype: str) -> None:
    report = odl.compile(network(), torch.zeros(1, 3, 5, 4), dtype=dtype, target="cv32e40p").verify(steps=1)
    assert report.ok, report.worst
    assert any(row.bit_exact for row in report.rows)


class AlmostTheGradient(nn.Module):
    """What a gradient of SiLU would be but for one constant."""

    def __init__(self, constant: float) -> None:
        super().__init__()
        self.linear, self.constant = nn.Linear(4, 3), constant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.linear(x)
        sigmoid = torch.sigmoid(x)
        return x * (sigmoid * (x * (torch.full_like(sigmoid, self.constant) - sigmoid) + 1))


def test_an_expression_that_only_looks_like_it_is_refused() -> None:
    with pytest.raises(odl.InputError, match=r"full_like.* is not supported"):
        odl.compile(AlmostTheGradient(2.0), torch.zeros(1, 4))
