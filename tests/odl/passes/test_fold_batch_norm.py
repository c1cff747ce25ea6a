"""Folding batch norm into the layer before: the same numbers, and what is left alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from torch import nn

from odl.compiler import compile_network
from odl.errors import InputError
from odl.operators.batch_norm import BatchNorm
from odl.options import Options
from odl.passes.fold_batch_norm import Folded, fold_batch_norm
from tests.odl.graph.examples import (
    build,
    traced_inference,
)


def fold(module: nn.Module, x: torch.Tensor) -> Folded:
    """The folded module, which must compute what the module in evaluation mode computes."""
    folded = fold_batch_norm(module, traced_inference(module, x))
    with torch.no_grad():
        expected, got = module(x), folded.module(x)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    return folded


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("conv_bn_relu", ("1",)),
        ("residual", ("1.bn1", "1.bn2")),
        ("separable", ("1", "4", "7", "10")),
        ("mlp", ("1",)),
    ],
)
def test_folding_keeps_the_numbers_and_leaves_no_norm(name: str, paths: tuple[str, ...]) -> None:
    module, x = build(name)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    folded = fold(module, x)
    assert (folded.folded, folded.kept) == (paths, ())
    assert all(isinstance(folded.module.get_submodule(path), nn.Identity) for path in paths)
    assert not any(key.startswith(f"{path}.") for key in folded.module.state_dict() for path in paths)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    graph = traced_inference(folded.module, x)
    assert not any(isinstance(item.operator, BatchNorm) for item in graph.nodes)


def test_folding_in_float32() -> None:
    module, x = build("separable")
    fold(module.float(), x.float())


def test_folding_keeps_an_existing_bias_and_what_is_frozen_stays_frozen() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False), nn.BatchNorm1d(2)
    ).eval()
    net[:2].requires_grad_(False)
    net[3].bias.requires_grad_(False)
    folded = fold(net, torch.randn(2, 3)).module
    assert {name: item.requires_grad for name, item in folded.named_parameters()} == {
        "0.weight": False,
        "0.bias": False,
        "2.weight": True,
        "2.bias": False,
    }


class UsedTwice(nn.Module):
    """A convolution whose output also goes past the norm, one norm after two layers, one layer before two norms."""

    def __init__(self, case: str) -> None:
        super().__init__()
        self.case = case
        self.conv, self.other = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
        self.norm, self.second = nn.BatchNorm2d(2), nn.BatchNorm2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        if self.case == "output twice":
            return functional.relu(self.norm(y)) + y
        if self.case == "norm twice":
            return self.norm(y) + functional.relu(self.norm(self.other(x)))
        return self.norm(y) + functional.relu(self.second(self.conv(functional.relu(x))))


@pytest.mark.parametrize(
    ("case", "kept"),
    [("output twice", ("norm",)), ("norm twice", ("norm",)), ("layer twice", ("norm", "second"))],
)
def test_norms_that_cannot_be_folded_alone_are_kept(case: str, kept: tuple[str, ...]) -> None:
    module = UsedTwice(case).eval()
    with torch.no_grad():
        for norm in (module.norm, module.second):
            norm.running_mean.uniform_(-1, 1)
            norm.weight.uniform_(0.5, 2)
    folded = fold(module, torch.randn(1, 2, 3, 3))
    assert (folded.folded, folded.kept) == ((), kept)


def test_norm_before_its_layer_is_kept_and_reported() -> None:
    module, x = build("pre_activation")
    assert fold(module, x).kept == ("1.bn",)  # the convolution before it is also the shortcut
    alone = nn.Sequential(
        nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Flatten()
    ).eval()
    example = torch.randn(1, 2, 3, 3)
    folded = fold(alone, example)
    assert (folded.folded, folded.kept) == (("3",), ("0",))
    assert compile_network(alone, example, "net", Options()).kept_norms == ("0",)


def test_folding_that_would_change_the_model_is_refused() -> None:
    """The weight is used without the layer, so that the bias that folding adds is lost."""

    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 2, 1, bias=False), nn.BatchNorm2d(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(functional.conv2d(x, self.conv.weight)).flatten(1)

    module = Functional().eval()
    nn.init.constant_(module.norm.bias, 3.0)
    with pytest.raises(InputError, match='bn="frozen"'):
        compile_network(module, torch.randn(1, 2, 3, 3), "net", Options())
    assert compile_network(module, torch.randn(1, 2, 3, 3), "net", Options(bn="frozen")).trainable
