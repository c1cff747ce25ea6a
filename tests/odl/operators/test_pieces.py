"""Joining, cutting, reordering and shuffling: references against PyTorch, networks on the host and on devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import odl
from odl.graph import DType, Layout, Role, Value
from odl.operators.base import KernelRequest
from odl.operators.pieces import ChannelShuffle, Concatenate, Permute, Place, Slice


class Branches(nn.Module):
    """Fire, ghost and shuffle blocks: channels split, shuffled in both ways, joined; rows and columns cut."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.left, self.right = (
            nn.Conv2d(3, 8, 1),
            nn.Conv2d(4, 6, 1),
            nn.Conv2d(4, 6, 3, padding=1),
        )
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.channel_shuffle(self.first(x), 4)
        one, two = x.chunk(2, 1)
        x = torch.cat([self.left(one), torch.relu(self.right(two))], 1)
        n, c, h, w = x.shape
        x = x.view(n, 3, c // 3, h, w).transpose(1, 2).reshape(n, c, h, w)
        x = torch.cat([x[:, :, 1:], x[:, :, ::2], x[:, :, -1:], x[:, :, :1], x[:, :, 2:3]], 2)
        return self.head((x[:, :, :, 1:] + x[:, :, :, :-1]).mean((2, 3)) + x[:, :, 1, 2])


class Mixer(nn.Module):
    """An image as tokens, mixed over tokens and over channels (MLP-Mixer), with a class token and two stacked views."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.token = nn.Conv2d(3, 6, 2, stride=2), nn.Parameter(torch.randn(1, 1, 6))
        self.tokens, self.channels, self.head = nn.Linear(7, 7), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        x = x + functional.gelu(self.tokens(x.transpose(1, 2))).transpose(1, 2)
        x = x + functional.gelu(self.channels(x))
        pair = torch.stack([x[:, 0], x.mean(1)], 1)
        first, second = pair.unbind(1)
        return self.head(first * second)


class Unwrapped(nn.Module):
    """Channels-last and a sequence whose channels become steps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.dense, self.last = nn.Conv2d(3, 4, 1), nn.Linear(4, 5), nn.Conv1d(5, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.dense(self.first(x).permute(0, 2, 3, 1)))
        return self.last(x.permute(0, 3, 1, 2).flatten(2)).mean(2)


NETWORKS: dict[str, Callable[[], nn.Module]] = {"branches": Branches, "mixer": Mixer, "unwrapped": Unwrapped}


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "mixed"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_gradient_on_the_host(name: str, dtype: str) -> None:
    report = odl.compile(NETWORKS[name](), torch.zeros(2, 3, 6, 4), dtype=dtype).verify(steps=2)
    assert report.ok, report.worst


@pytest.mark.parametrize("target", ["cv32e40p", "qemu"])
@pytest.mark.parametrize("name", NETWORKS)
def test_bits_of_devices_are_the_hosts(name: str, target: str) -> None:
    network = odl.compile(NETWORKS[name](), torch.zeros(2, 3, 6, 4), dtype="mixed", target=target)
    report = network.verify(steps=1)
    assert report.ok, report.worst
    assert any(row.bit_exact for row in report.rows)


@settings(max_examples=60)
@given(data=st.data())
def test_references_are_pytorch(data: st.DataObject) -> None:
    draw = data.draw
    shape = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    x = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape)
    axis = draw(st.integers(1, len(shape) - 1))
    first, step = draw(st.integers(0, shape[axis] - 1)), draw(st.integers(1, 3))
    tensor = torch.tensor(x, requires_grad=True)
    cut = tensor.movedim(axis, 0)[first::step].movedim(0, axis)
    operator = Slice(axis, first, cut.shape[axis], step)
    np.testing.assert_array_equal(operator.reference(x=x)["y"], cut.detach().numpy())
    dy = np.random.default_rng(1).standard_normal(tuple(cut.shape))
    cut.backward(torch.tensor(dy))
    assert tensor.grad is not None
    np.testing.assert_array_equal(
        Place(axis, first, shape[axis], step).reference(x=dy)["y"], tensor.grad.numpy()
    )
    joined = Concatenate(axis).reference(a=x, b=x)["y"]
    np.testing.assert_array_equal(joined, torch.cat([torch.tensor(x)] * 2, axis).numpy())
    if len(shape) == 4:
        groups = draw(st.sampled_from([item for item in range(1, shape[1] + 1) if shape[1] % item == 0]))
        shuffled = functional.channel_shuffle(torch.tensor(x), groups)
        np.testing.assert_array_equal(ChannelShuffle(groups).reference(x=x)["y"], shuffled.numpy())


@settings(max_examples=60)
@given(data=st.data())
def test_axes_move_as_the_kernel_walks(data: st.DataObject) -> None:
    """A view keeps the bytes in place; a copy's strides give the reference, in any layout."""
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=4)))
    axes = (0, *data.draw(st.permutations(range(1, len(shape)))))
    layout = data.draw(st.sampled_from([Layout.FLAT, Layout.NHWC]))
    x = np.arange(np.prod(shape)).reshape(shape)
    value, operator = Value("x", shape, Role.ACTIVATION, DType.F32, layout), Permute(axes)
    expected = operator.reference(x=x)["y"]
    chosen = operator.layout({"x": value}, expected.shape)
    memory = x.transpose(layout.permutation(x.ndim)).reshape(-1)
    wanted = expected.transpose(chosen.permutation(x.ndim)).reshape(-1)
    assert operator.placed({"x": value}, chosen).view == bool(np.array_equal(memory, wanted))
    y = Value("y", expected.shape, Role.ACTIVATION, DType.F32, chosen)
    sizes = operator.sizes(KernelRequest({"x": value}, {"y": y}, 1, None))
    counts, steps = ([sizes[f"{name}{axis}"] for axis in range(4)] for name in "nb")
    np.testing.assert_array_equal(
        memory[np.einsum("iabcd,i->abcd", np.indices(counts), steps)].reshape(-1), wanted
    )


class Applied(nn.Module):
    """A function of a linear layer's output."""

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(4, 4), function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self.layer(x))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x: torch.cat([x, x], 0)[:2],
            "cutting and joining along the batch is not supported; use another axis",
        ),
        (lambda x: x[:1] + x, "cutting and joining along the batch is not supported; use another axis"),
        (
            lambda x: x.view(2, 2, 2).transpose(0, 1).reshape(2, 4) + 0,
            "moving the batch axis is not supported",
        ),
    ],
)
def test_what_mixes_samples_is_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(odl.InputError, match=message):
        odl.compile(Applied(function), torch.zeros(2, 4))
