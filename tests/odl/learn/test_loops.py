"""Pretraining, and the adaptation that the device's is compared with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from odl import data
from odl.errors import InputError
from odl.learn import loops
from tests.odl.data.datasets import small


def test_sample_order_visits_everything_once_per_pass() -> None:
    order = loops.sample_order(7, 17, seed=3)
    assert len(order) == 17
    assert sorted(order[:7]) == sorted(order[7:14]) == list(range(7))
    assert len(set(order[14:])) == 3
    assert np.array_equal(order, loops.sample_order(7, 17, seed=3))
    assert np.array_equal(order[:5], loops.sample_order(7, 5, seed=3))
    assert not np.array_equal(order, loops.sample_order(7, 17, seed=4))
    with pytest.raises(InputError):
        loops.sample_order(0, 5, seed=0)


@pytest.mark.parametrize("updates", [1, 2, 10, 600])
def test_learning_rate_rises_holds_and_falls_to_almost_nothing(updates: int) -> None:
    rates = [loops.learning_rate(update, updates, 0.5) for update in range(updates)]
    assert min(rates) > 0.0 and max(rates) <= 0.5
    peak = int(np.argmax(rates))
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    if updates == 600:
        assert rates[100] == 0.5 and rates[-1] < 1e-4


@pytest.mark.parametrize(("steps", "micro_batch"), [(0, 8), (12, 8), (8, 0), (-8, 8)])
def test_steps_fill_whole_micro_batches(steps: int, micro_batch: int) -> None:
    with pytest.raises(InputError, match="micro-batches"):
        _ = loops.Recipe(0.1, steps, micro_batch).updates


def linear() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 4))


def test_adaptation_equals_accumulated_single_samples() -> None:
    """What the device does: sum the gradients of single samples, divide, update."""
    train, steps, micro_batch = small(), 24, 8
    adapted, by_hand = linear(), linear()
    loops.adapt_pytorch(adapted, train, loops.Recipe(0.1, steps, micro_batch), seed=5)
    order = loops.sample_order(len(train), steps, seed=5)
    for update in range(3):
        by_hand.zero_grad()
        for index in order[update * micro_batch :][:micro_batch]:
            logits = by_hand(torch.tensor(train.x[index : index + 1]))
            loss = nn.functional.cross_entropy(logits, torch.tensor(train.y[index : index + 1]))
            (loss / micro_batch).backward()  # type: ignore[no-untyped-call]
        rate = loops.learning_rate(update, 3, 0.1)
        with torch.no_grad():
            for parameter in by_hand.parameters():
                assert parameter.grad is not None
                parameter -= rate * parameter.grad
    for left, right in zip(adapted.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_adaptation_refuses_batch_norm() -> None:
    module = nn.Sequential(nn.BatchNorm2d(1), linear())
    with pytest.raises(InputError, match="folded"):
        loops.adapt_pytorch(module, small(), loops.Recipe(0.1, 8, 8), seed=0)


def test_pretraining_learns_and_is_reproducible() -> None:
    train, validation = data.load("digits", "train"), data.load("digits", "validation")
    calls: list[tuple[int, int]] = []
    losses: list[float] = []

    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, 10))

    def progress(done: int, total: int, loss: float) -> None:
        calls.append((done, total))
        losses.append(loss)

    first, again = network(), network()
    recipe = loops.Recipe(0.1, 8, 8, pretrain_epochs=4, pretrain_learning_rate=0.02)
    loops.pretrain(first, train, recipe, seed=1, progress=progress)
    loops.pretrain(again, train, recipe, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert np.mean(losses[-37:]) < np.mean(losses[:37])
    assert loops.correct(first, validation).mean() > 0.6
    assert calls[-1] == (4 * 37, 4 * 37) and len(calls) == 4 * 37
    assert not again.training


def test_accuracy_counts_logits_that_are_not_numbers_as_wrong() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((len(x), 4), torch.nan)

    assert not loops.correct(Broken(), small()).any()
