"""A trainer is one thing to a method, whatever computes: compiled C against PyTorch, and PyTorch against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from odl.errors import InputError
from odl.learn.network import Engine, grown, with_classes
from odl.learn.trainer import Trainer, load, weights_of
from odl.learn.trainers import TorchTrainer
from tests.odl.learn.tiny import NETWORK, folded, stripes

pytestmark = pytest.mark.usefixtures("private_cache")


@pytest.fixture(scope="module")
def trainers(private_cache: object) -> dict[str, Trainer]:
    start = folded()
    return {
        name: Engine(name, start, NETWORK, "fp32").trainer(weights_of(start))
        for name in ("fast", "exact", "pytorch")
    }


def test_c_and_pytorch_do_the_same(trainers: dict[str, Trainer]) -> None:
    data = stripes(12, 3)
    soft = np.float32(0.1 + 0.6 * np.eye(4))[data.y]
    factors = np.linspace(-1.0, 2.0, 12)
    results = {}
    for name, trainer in trainers.items():
        trainer.set_learning_rate(0.1)
        loss = trainer.train(data.x, data.y)
        gradient = trainer.gradient(data.x, soft, factors)
        importance = trainer.importance(data.x[:5], data.y[:5])
        results[name] = (loss, gradient, importance, trainer.weights(), trainer.infer(data.x))
        assert (
            trainer.costs.forward == 12
            and trainer.costs.backward == 12 + 12 + 5
            and trainer.costs.updates == 2
        )
    loss, *maps, logits = results["pytorch"]
    for name in ("fast", "exact"):
        other_loss, *others, other_logits = results[name]
        assert other_loss == pytest.approx(loss, rel=1e-5)
        np.testing.assert_allclose(other_logits, logits, rtol=1e-4, atol=1e-5)
        for mine, wanted in zip(others, maps, strict=True):
            assert mine.keys() == wanted.keys() and len(mine) == 6
            for key in wanted:
                scale = np.abs(wanted[key]).max() + 1e-12
                np.testing.assert_allclose(mine[key] / scale, wanted[key] / scale, atol=2e-4)


def test_the_gradient_is_autograds_and_nothing_has_moved() -> None:
    start, data = folded(), stripes(10, 4)
    trainer = TorchTrainer(start)
    trainer.set_learning_rate(0.5)
    factors = np.linspace(-1.0, 1.0, 10)
    found = trainer.gradient(data.x, data.y, factors)
    module = start.double()
    losses = nn.functional.cross_entropy(
        module(torch.tensor(data.x).double()), torch.tensor(data.y), reduction="none"
    )
    (losses * torch.tensor(factors)).mean().backward()  # type: ignore[no-untyped-call]
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        np.testing.assert_allclose(found[name], parameter.grad.numpy(), atol=1e-6)
        np.testing.assert_array_equal(trainer.weights()[name], parameter.detach().float().numpy())
    assert trainer.rate == 0.5


def test_importance_is_of_single_samples() -> None:
    start, data = folded(), stripes(6, 5)
    found = TorchTrainer(start).importance(data.x, data.y)
    wanted = {name: np.zeros(item.shape) for name, item in start.named_parameters()}
    for i in range(6):
        start.zero_grad()
        nn.functional.cross_entropy(
            start(torch.tensor(data.x[i : i + 1])), torch.tensor(data.y[i : i + 1])
        ).backward()  # type: ignore[no-untyped-call]
        for name, parameter in start.named_parameters():
            assert parameter.grad is not None
            wanted[name] += parameter.grad.double().numpy() ** 2 / 6
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-10)


def test_trainers_are_independent_and_refuse_what_does_not_fit(trainers: dict[str, Trainer]) -> None:
    start = folded()
    engine = Engine("fast", start, NETWORK, "mixed")
    first, second = engine.trainer(weights_of(start)), engine.trainer(weights_of(start))
    first.set_learning_rate(0.1)
    first.train(stripes(8, 1).x, stripes(8, 1).y)
    for name, array in weights_of(start).items():
        np.testing.assert_array_equal(second.weights()[name], array)
    with pytest.raises(InputError, match="do not fit"):
        load(start, {"0.weight": np.zeros((8, 1, 3, 3), np.float32)})
    with pytest.raises(InputError, match="no engine 'slow'"):
        Engine("slow", start, NETWORK)
    with pytest.raises(InputError, match="gradients"):
        TorchTrainer(start).apply()


def test_an_update_of_numbers_that_are_not_finite_is_skipped() -> None:
    trainer = TorchTrainer(folded())
    trainer.set_learning_rate(0.1)
    before = trainer.weights()
    trainer.accumulate(stripes(2, 0).x, stripes(2, 0).y, np.array([1.0, np.inf]))
    assert not trainer.apply() and trainer.costs.skipped == 1
    for name, array in trainer.weights().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_head_that_grows_keeps_what_it_knows() -> None:
    module = with_classes(folded(), 2)
    larger = grown(module, 4)
    x = torch.tensor(stripes(5, 0).x)
    with torch.no_grad():
        torch.testing.assert_close(larger(x)[:, :2], module(x))
        assert larger(x)[:, 2:].allclose(torch.tensor(-np.log(3.0)).float())
