"""What is trained is what was asked for: after folding, in the order of use, and where layers are frozen."""

import pytest
import torch
from torch import nn

import odl
from odl.errors import InputError


class Swapped(nn.Module):
    """Two layers, registered in the other order than that of their use, and one that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.first, self.unused = nn.Linear(4, 3), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x)))


def trained(module: nn.Module, **options: object) -> set[str]:
    example = torch.zeros(2, 4) if isinstance(module, Swapped) else torch.zeros(2, 2, 4, 4)
    return set(odl.compile(module, example, **options).compiled.trainable)


def normed(frozen: str = "") -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 3))
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not frozen or not name.startswith(frozen))
    return module


def test_the_last_layers_are_those_that_are_used_last() -> None:
    assert trained(Swapped(), update="last:1") == {"last.weight", "last.bias"}
    assert trained(Swapped(), update="last:2") == {"last.weight", "last.bias", "first.weight", "first.bias"}


def test_a_pattern_for_what_was_folded_says_so_and_both_remedies_work() -> None:
    with pytest.raises(
        InputError, match=r"'1\.\*' means 1.weight, 1.bias, which .*became part of the layer before"
    ):
        trained(normed(), update="1.*")
    assert trained(normed(), update="0.*") == {"0.weight", "0.bias"}
    assert trained(normed(), update="1.*", bn="frozen") == {"1.weight", "1.bias"}
    with pytest.raises(InputError, match=r"'nothing\.\*' matches no parameter"):
        trained(normed(), update="nothing.*")


def test_a_norm_that_trains_is_not_folded_into_a_layer_that_is_frozen() -> None:
    assert trained(normed("0")) == {"1.weight", "1.bias", "3.weight", "3.bias"}
    assert trained(normed("1")) == {"0.weight", "0.bias", "3.weight", "3.bias"}
    assert trained(normed("")) == {"0.weight", "0.bias", "3.weight", "3.bias"}
