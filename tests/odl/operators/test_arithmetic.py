"""Arithmetic of repeated tensors, sums and means: references against PyTorch, networks on the host and on devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import odl
from odl.graph import DType, Layout, Role, Value
from odl.operators.base import KernelRequest
from odl.operators.broadcast import VALUES, Arithmetic, Broadcast
from odl.operators.reduce import Reduce


class SqueezeExcite(nn.Module):
    """The channels of an image times a gate that its mean opens; a number of ways to write arithmetic behind it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.down, self.up = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
        self.scale, self.head = nn.Parameter(torch.ones(1, 4, 1, 1)), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        gate = nn.functional.hardsigmoid(self.up(torch.relu(self.down(x.mean((2, 3), keepdim=True)))))
        x = x * gate * self.scale
        x = x - 0.5 * x.mean(2, keepdim=True) + x.mean(1, keepdim=True) / 2
        x = (1 - x) / (x**2 + 2.0) + torch.add(-x, torch.abs(x), alpha=0.5)
        return self.head(x.sum((2, 3)) / 10)


class Tokens(nn.Module):
    """A sequence of vectors with positions, a scale and a mean over the tokens; PReLU with one slope and with several."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.head = nn.Linear(4, 6), nn.Linear(6, 3)
        self.positions, self.scale = nn.Parameter(torch.randn(1, 5, 6)), nn.Parameter(torch.randn(6))
        self.slopes, self.slope = nn.PReLU(5), nn.PReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.slopes((self.first(x) + self.positions) * self.scale)
        return self.head(self.slope(x.mean(1)))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "squeeze and excite": (SqueezeExcite, (2, 3, 5, 4)),
    "tokens": (Tokens, (2, 5, 4)),
    "tokens of one sample": (Tokens, (1, 5, 4)),
}


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "mixed"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_gradient_on_the_host(name: str, dtype: str) -> None:
    network, shape = NETWORKS[name]
    report = odl.compile(network(), torch.zeros(shape), dtype=dtype).verify(steps=2)
    assert report.ok, report.worst


@pytest.mark.parametrize("target", ["cv32e40p", "qemu"])
@pytest.mark.parametrize("name", NETWORKS)
def test_bits_of_devices_are_the_hosts(name: str, target: str) -> None:
    network, shape = NETWORKS[name]
    report = odl.compile(network(), torch.zeros(shape), dtype="mixed", target=target).verify(steps=1)
    assert report.ok, report.worst
    assert any(row.bit_exact for row in report.rows)


def test_gradients_add_up_over_samples() -> None:
    network, shape = NETWORKS["tokens"]
    report = odl.compile(network(), torch.zeros(shape), dtype="mixed", accumulate=True).verify(
        steps=2, accumulated=2
    )
    assert report.ok, report.worst


@st.composite
def shapes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape, and another that is repeated to it."""
    whole = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=4)))
    part = [draw(st.sampled_from([1, size])) for size in whole][draw(st.integers(0, len(whole) - 1)) :]
    return whole, tuple(part)


@settings(max_examples=60)
@given(case=shapes(), function=st.sampled_from(list(VALUES)), flat=st.tuples(st.booleans(), st.booleans()))
def test_sizes_say_where_every_element_lies(
    case: tuple[tuple[int, ...], tuple[int, ...]], function: Arithmetic, flat: tuple[bool, bool]
) -> None:
    """The kernel's walk over memory gives the reference, in any layout of the operands."""
    whole, part = case
    random = np.random.default_rng(0)
    arrays = {"a": random.standard_normal(whole), "b": random.standard_normal(part)}
    layouts = [Layout.FLAT if item else Layout.NHWC for item in flat]
    values = {
        name: Value(name, array.shape, Role.ACTIVATION, DType.F32, layout)
        for (name, array), layout in zip(arrays.items(), layouts, strict=True)
    }
    operator = Broadcast(function, whole)
    y = Value("y", whole, Role.ACTIVATION, DType.F32, operator.layout(values, whole))
    sizes = operator.sizes(KernelRequest(values, {"y": y}, 1, None))
    counts = [sizes[f"n{axis}"] for axis in range(4)]
    walked = {}
    for name, array in arrays.items():
        memory = array.transpose(values[name].layout.permutation(array.ndim)).reshape(-1)
        steps = [sizes[f"{name}{axis}"] for axis in range(4)]
        walked[name] = memory[np.einsum("iabcd,i->abcd", np.indices(counts), steps)]
    result = VALUES[function](walked["a"], walked["b"]).reshape(-1)
    expected = operator.reference(**arrays)["y"].transpose(y.layout.permutation(len(whole))).reshape(-1)
    np.testing.assert_array_equal(result, expected)


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    axes=st.sets(st.integers(1, 3), min_size=1),
    keep=st.booleans(),
    flat=st.booleans(),
)
def test_sums_are_pytorchs_in_any_layout(shape: list[int], axes: set[int], keep: bool, flat: bool) -> None:
    chosen = tuple(sorted(axis for axis in axes if axis < len(shape))) or (1,)
    x = np.random.default_rng(0).standard_normal(shape)
    expected = torch.tensor(x).sum(chosen, keepdim=keep)
    operator = Reduce(chosen, tuple(expected.shape))
    np.testing.assert_allclose(operator.reference(x=x)["y"], expected.numpy(), atol=1e-12)
    value = Value("x", x.shape, Role.ACTIVATION, DType.F32, Layout.FLAT if flat else Layout.NHWC)
    layout = operator.layout({"x": value}, operator.shape)
    assert layout is not None
    y = Value("y", operator.shape, Role.ACTIVATION, DType.F32, layout)
    sizes = operator.sizes(KernelRequest({"x": value}, {"y": y}, 1, None))
    memory = x.transpose(value.layout.permutation(x.ndim)).reshape(
        [sizes[name] for name in ("k0", "r0", "k1", "r1", "k2")]
    )
    ordered = expected.numpy().transpose(layout.permutation(expected.dim())).reshape(-1)
    np.testing.assert_allclose(memory.sum(axis=(1, 3)).reshape(-1), ordered, atol=1e-12)


class Applied(nn.Module):
    """A function of a linear layer's output and of a parameter."""

    def __init__(self, function: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.own, self.function = nn.Linear(4, 4), nn.Parameter(torch.ones(4)), function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self.layer(x), self.own)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, own: x + x.sum(0, keepdim=True), "a sum of activations over the batch is not supported"),
        (lambda x, own: own - x, "supported where it is the second of two operands"),
        (lambda x, own: x * (own * own), "supported where it is the second of two operands"),
        (lambda x, own: x**3, "a power of 3 is not supported; the square is"),
        (lambda x, own: x + own + own, "'own' is used more than once"),
    ],
)
def test_what_is_missing_is_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(odl.InputError, match=message):
        odl.compile(Applied(function), torch.zeros(2, 4))
