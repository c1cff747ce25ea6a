"""The replay buffer: what it holds, and steps that mix its samples with new ones."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import odl
from odl.project.state import counters
from tests.networks import CLASSES, INPUT, samples, tiny

SIZE = 6
X, Y = samples(64)


@functools.cache
def build(eviction, samples=SIZE, mix=3, dtype="mixed"):
    learn = odl.Replay(samples=samples, mix=mix, eviction=eviction)
    return odl.compile(
        tiny(), torch.zeros(1, *INPUT), learn=learn, accumulate=True, dtype=dtype, optimizer=odl.SGD(lr=0.01)
    )


@functools.cache
def loaded(eviction):
    net = build(eviction).load()
    return net, net.save()


def held(net):
    return net.tensor("replay.labels")[: net._host.replay_count()]


@pytest.mark.parametrize("eviction", ["balanced", "reservoir"])
@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=40))
def test_the_buffer_counts_what_it_holds_and_holds_samples_that_were_learned(eviction, labels):
    net, start = loaded(eviction)
    net.load(start)
    known = {}
    for index, label in enumerate(labels):
        net.learn(X[index], label)
        known[X[index].numpy().astype(np.float16).tobytes()] = label
    count = net._host.replay_count()
    assert count == min(SIZE, len(labels))
    assert np.array_equal(net.tensor("replay.held"), np.bincount(held(net), minlength=CLASSES))
    assert np.array_equal(net.tensor("replay.seen"), np.bincount(labels, minlength=CLASSES))
    stored = net.tensor("replay.samples")
    for slot in range(count):
        assert known[stored[slot].tobytes()] == net.tensor("replay.labels")[slot]
    assert not net.tensor("replay.new").any() and not stored[count:].any()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, CLASSES - 1), min_size=SIZE, max_size=40))
def test_a_balanced_buffer_gives_rare_classes_all_they_have_and_others_equal_shares(labels):
    net, start = loaded("balanced")
    net.load(start)
    for index, label in enumerate(labels):
        net.learn(X[index], label)
    seen, kept = net.tensor("replay.seen"), net.tensor("replay.held")
    assert kept.sum() == SIZE
    short = [c for c in range(CLASSES) if kept[c] < seen[c]]
    assert all(kept[c] >= kept.max() - 1 for c in short)


def test_a_reservoir_keeps_early_and_late_samples_alike():
    net, start = loaded("reservoir")
    net.load(start)
    appearances = np.zeros(32)
    names = {X[index].numpy().astype(np.float16).tobytes(): index for index in range(32)}
    for _ in range(120):
        for name in ("replay.samples", "replay.labels", "replay.held", "replay.seen"):
            net.set_tensor(name, np.zeros_like(net.tensor(name)))
        set_word(net, "replay_count", 0)
        for index in range(32):
            net.learn(X[index], int(Y[index]))
        for stored in net.tensor("replay.samples"):
            appearances[names[stored.tobytes()]] += 1
    halves = appearances[:16].sum() / appearances.sum(), appearances[16:].sum() / appearances.sum()
    assert 0.42 < halves[0] < 0.58, halves
    assert (appearances > 0).all()


def set_word(net, name, value):
    """Overwrite a counter of the training state."""
    options = net.project.options
    names = [item.name for item in options.optimizer.scalars(1.0)]
    names += [item.name for item in counters(options)]
    place = 4 * names.index(name)
    net._words[place : place + 4] = int(value).to_bytes(4, "little")


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "mixed"])
def test_a_step_is_the_mean_over_the_new_sample_and_those_of_the_buffer(dtype):
    """Against the same samples, added up and applied by hand."""
    net, plain = build("balanced", mix=2, dtype=dtype).load(), build("balanced", mix=2, dtype=dtype).load()
    net.learn(X[0], int(Y[0]))
    plain.accumulate(X[:1], Y[:1])
    plain.apply()
    assert np.array_equal(net.tensor("0.weight"), plain.tensor("0.weight"))
    net.learn(X[1], int(Y[1]))
    plain.accumulate(X[1:2], Y[1:2])
    for _ in range(2):  # the buffer holds one sample, which is drawn twice
        plain.accumulate(X[:1], Y[:1])
    plain.apply()
    for name in ("0.weight", "0.bias", "4.weight", "4.bias"):
        assert np.array_equal(net.tensor(name), plain.tensor(name)), name


def test_an_overflowing_sample_is_skipped_and_kept_out_of_no_count():
    net, start = loaded("balanced")
    net.load(start)
    net.learn(X[0], 0)
    weights = net.tensor("0.weight")
    net.learn(X[0] * (6e4 / X[0].abs().max()), 1)
    assert net.skipped_steps == 1 and np.array_equal(net.tensor("0.weight"), weights)
    assert list(held(net)) == [0, 1]
