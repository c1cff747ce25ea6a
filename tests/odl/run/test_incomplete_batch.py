"""Fewer samples than the batch train with their own mean, as PyTorch's do; where that cannot be, it is refused."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import odl
from odl.errors import InputError

RATE, BATCH = 0.1, 4


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def build(**options):
    options = {"dtype": "fp32", "bn": "frozen", "optimizer": odl.SGD(lr=RATE), **options}
    return odl.compile(network(), torch.zeros(BATCH, 1, 3, 4), **options)


def pytorch(x, y, loss, weights):
    module = copy.deepcopy(network()).double().eval()
    optimizer = torch.optim.SGD(module.parameters(), RATE)
    losses = loss(module(x.double()), y, reduction="none").reshape(len(x), -1).mean(1)
    mean = (losses * torch.tensor(weights)).mean()
    mean.backward()
    optimizer.step()
    return float(mean.detach()), module.state_dict()


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("count", [1, 3, 4])
def test_samples_train_with_their_own_mean(count, loss, accumulate):
    net = build(loss=loss, accumulate=accumulate).load()
    generator = torch.Generator().manual_seed(count)
    x = torch.randn(count, 1, 3, 4, generator=generator)
    y = (
        torch.arange(count) % 3
        if loss == "cross_entropy"
        else torch.randn(count, 3, generator=generator).double()
    )
    weights = [0.5, 2.0, 1.0, 1.5][:count]
    function = F.cross_entropy if loss == "cross_entropy" else F.mse_loss
    for given in (None, weights):
        fresh = build(loss=loss, accumulate=accumulate).load() if given else net
        got = fresh.train_step(x, y, given)
        wanted, state = pytorch(x, y, function, given or [1.0] * count)
        assert got == pytest.approx(wanted, rel=1e-5)
        for name, item in fresh.state_dict().items():
            np.testing.assert_allclose(item, state[name], rtol=1e-4, atol=1e-6)


def test_statistics_of_a_batch_need_all_of_it():
    with pytest.raises(InputError, match=r"x has 3 samples; .*batch norm in training mode needs whole"):
        build(bn="train").load().train_step(torch.zeros(3, 1, 3, 4), [0, 1, 2])


def test_labels_and_weights_must_be_as_many_as_samples():
    net = build().load()
    with pytest.raises(InputError, match=r"y has shape \(4,\); x has 3 samples"):
        net.train_step(torch.zeros(3, 1, 3, 4), [0, 1, 2, 0])
    with pytest.raises(InputError, match=r"weight has shape \(4,\); x has 3 samples"):
        net.train_step(torch.zeros(3, 1, 3, 4), [0, 1, 2], [1, 1, 1, 1])
