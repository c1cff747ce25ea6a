"""Running means of loss and entropy, against NumPy."""

import numpy as np
import pytest
import torch

import odl
from odl.errors import InputError
from tests.networks import INPUT, samples, tiny

X, Y = samples(12)
HORIZON = 4


def compiled(batch=1, **options):
    learn = options.pop("learn", odl.Watch(horizon=HORIZON))
    return odl.compile(tiny(), torch.zeros(batch, *INPUT), learn=learn, **options)


def running(values):
    mean = 0.0
    for count, value in enumerate(values, 1):
        mean += (value - mean) / min(count, HORIZON)
    return mean


def entropies(logits):
    shares = np.exp(logits - logits.max(1, keepdims=True), dtype=np.float64)
    shares /= shares.sum(1, keepdims=True)
    return -(shares * np.log(shares)).sum(1)


@pytest.mark.parametrize(
    "options", [{"dtype": "fp32"}, {"dtype": "mixed"}, {"dtype": "fp16"}, {"accumulate": True}], ids=str
)
def test_they_are_means_of_the_latest(options):
    net = compiled(**options).load()
    assert net.running_loss == net.running_entropy == 0
    losses = [net.train_step(X[index], Y[index]) for index in range(9)]
    assert net.running_loss == pytest.approx(running(losses), rel=1e-5)
    logits = net.infer(X)
    assert net.running_entropy == pytest.approx(running(entropies(logits)), rel=1e-5)


def test_every_sample_of_a_batch_counts():
    net = compiled(3, dtype="fp32").load()
    assert net.running_entropy == 0
    logits = net.infer(X[:6])
    assert net.running_entropy == pytest.approx(running(entropies(logits)), rel=1e-5)


def test_what_is_skipped_or_refused_does_not_count():
    net = compiled(dtype="mixed").load()
    net.train_step(X[0], Y[0])
    loss = net.running_loss
    net.train_step(X[0] * (6e4 / X[0].abs().max()), Y[0])
    assert net.skipped_steps == 1 and net.running_loss == loss
    with pytest.raises(InputError):
        net.infer(np.full((1, *INPUT), 1e9, np.float32))
    assert net.running_entropy == 0


def test_the_loss_is_saved_and_taken_back_and_the_entropy_is_not():
    learn = (odl.Watch(horizon=HORIZON), odl.Log(samples=8, states=2))
    build = compiled(learn=learn)
    net, never = build.load(), build.load()
    for index in range(6):
        net.learn(X[index], Y[index], id=index)
        if index != 3:
            never.learn(X[index], Y[index], id=index)
    net.infer(X)
    entropy = net.running_entropy
    net.forget([3])
    assert net.running_entropy == entropy > 0
    assert net.save() == never.save() and net.digest() == never.digest()
    assert net.running_loss == never.running_loss > 0
    resumed = build.load()
    resumed.load(net.save())
    assert resumed.running_loss == net.running_loss and resumed.running_entropy == 0


def test_without_it_there_is_nothing_to_read():
    net = compiled(learn=()).load()
    with pytest.raises(InputError, match='needs a network compiled with learn="watch"'):
        _ = net.running_loss
    with pytest.raises(InputError, match='needs a network compiled with learn="watch"'):
        _ = compiled(loss="mse").load().running_entropy
