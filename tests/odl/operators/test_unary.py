"""Functions of one number and their gradients: references against PyTorch, networks on the host and on a cluster."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import odl
from odl.operators.unary import Function, Unary, UnaryGradient

Torch = Callable[[torch.Tensor], torch.Tensor]
#: Each function as PyTorch has it.
FUNCTIONS: dict[str, tuple[Unary, Torch]] = {
    "tanh": (Unary(Function.TANH), torch.tanh),
    "sigmoid": (Unary(Function.SIGMOID), torch.sigmoid),
    "gelu": (Unary(Function.GELU), functional.gelu),
    "gelu_tanh": (Unary(Function.GELU_TANH), lambda x: functional.gelu(x, approximate="tanh")),
    "hardswish": (Unary(Function.HARD_SWISH), functional.hardswish),
    "hardsigmoid": (Unary(Function.HARD_SIGMOID), functional.hardsigmoid),
    "leaky_relu": (Unary(Function.LEAKY_RELU, slope=0.3), lambda x: functional.leaky_relu(x, 0.3)),
    "elu": (Unary(Function.ELU, slope=0.5, scale=1.0, rate=1.0), lambda x: functional.elu(x, 0.5)),
    "selu": (
        Unary(
            Function.ELU, slope=1.6732632423543772 * 1.0507009873554805, scale=1.0507009873554805, rate=1.0
        ),
        functional.selu,
    ),
    "celu": (Unary(Function.ELU, slope=2.0, scale=1.0, rate=0.5), lambda x: functional.celu(x, 2.0)),
    "softplus": (
        Unary(Function.SOFTPLUS, rate=2.0, limit=5.0),
        lambda x: functional.softplus(x, 2.0, 5.0),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=10)
@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 2**32 - 1))
def test_references_are_pytorch(name: str, shape: list[int], seed: int) -> None:
    operator, function = FUNCTIONS[name]
    random = np.random.default_rng(seed)
    x, dy = random.standard_normal(shape) * 4, random.standard_normal(shape)
    given_x = torch.tensor(x, requires_grad=True)
    y = function(given_x)
    y.backward(torch.tensor(dy))
    own = operator.reference(x=x)["y"]
    np.testing.assert_allclose(own, y.detach().numpy(), rtol=1e-12, atol=1e-12)
    settings = {name: getattr(operator, name) for name in operator.facts.scalars}
    gradient = UnaryGradient(operator.function, **settings)
    seen = own if operator.facts.by_output else x
    assert given_x.grad is not None
    got = gradient.reference(dy=dy, seen=seen)["dx"]
    np.testing.assert_allclose(
        got, given_x.grad.numpy(), rtol=1e-7, atol=1e-12
    )  # hardsigmoid has 1/6 as a float


class Applied(nn.Module):
    """A function behind a convolution and behind a linear layer."""

    def __init__(self, *functions: Torch) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.linears = nn.ModuleList(
            [nn.Linear(80 if index == 0 else 9, 9) for index in range(len(functions))]
        )
        self.last, self.functions = nn.Linear(9, 3), functions

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.functions[-1](self.convolution(x)).flatten(1)
        for linear, function in zip(self.linears, self.functions, strict=True):
            x = function(linear(x))
        return self.last(x)


def clamps(x: torch.Tensor) -> torch.Tensor:
    return x.clamp(-0.3, 0.7) + torch.clamp_min(x, 0.1) + x.clamp(max=0.2)


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "mixed"])
@pytest.mark.parametrize("part", range(3))
def test_every_gradient_on_the_host(part: int, dtype: str) -> None:
    functions = [clamps, *(function for _, function in FUNCTIONS.values())][part::3]
    report = odl.compile(Applied(*functions), torch.zeros(2, 3, 5, 4), dtype=dtype).verify(steps=2)
    assert report.ok, report.worst


@pytest.mark.parametrize("dtype", ["fp16", "mixed"])
def test_bits_of_the_cluster_are_the_hosts(dtype: str) -> None:
    network = Applied(*(function for _, function in FUNCTIONS.values()))
    report = odl.compile(network, torch.zeros(1, 3, 5, 4), dtype=dtype, target="cv32e40p").verify(steps=1)
    assert report.ok, report.worst
    assert any(row.bit_exact for row in report.rows)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: functional.leaky_relu(x, -0.1), "a slope of -0.1 is not supported; use one of at least 0"),
        (lambda x: functional.elu(x, -1.0), "alpha -1 is not supported; use one above 0"),
    ],
)
def test_what_an_output_does_not_tell_is_refused(function: Torch, message: str) -> None:
    with pytest.raises(odl.InputError, match=message):
        odl.compile(Applied(function), torch.zeros(1, 3, 5, 4))
