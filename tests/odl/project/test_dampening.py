"""Selective synaptic dampening on the device, against its equations in float64."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import odl
from odl.errors import InputError
from tests.networks import INPUT, samples, tiny

X, Y = samples(12)
LEARN = (odl.Importance(), odl.Dampening())
NAMES = ("0.weight", "0.bias", "4.weight", "4.bias")


@functools.cache
def build(**options):
    return odl.compile(tiny(), torch.zeros(1, *INPUT), **{"learn": LEARN, **options})


def prepared(net, retained=range(6), forgotten=range(6, 10)):
    """The mean importances of both parts."""
    for index in retained:
        net.call("importance", X[index : index + 1], Y[index : index + 1])
    reference = {name: net.tensor(f"{name}.importance") / np.float32(len(retained)) for name in NAMES}
    net.keep_importance()
    for index in forgotten:
        net.call("importance", X[index : index + 1], Y[index : index + 1])
    return reference, {name: net.tensor(f"{name}.importance") / max(len(forgotten), 1) for name in NAMES}


@pytest.mark.parametrize("options", [{"dtype": "fp32"}, {"dtype": "mixed"}, {"dtype": "fp16"}], ids=str)
@settings(max_examples=25, deadline=None)
@given(st.floats(0, 100), st.sampled_from([0.25, 1.0, 3.0]))
def test_weights_become_what_the_equations_say(options, percentile, strength):
    net = build(**options).load()
    before = {name: net.tensor(name).astype(np.float64) for name in NAMES}
    reference, forgotten = prepared(net)
    ratio = np.concatenate([(forgotten[n] / np.maximum(reference[n], 1e-30)).ravel() for n in NAMES])
    dampened = net.dampen(percentile, strength)
    kept = int(np.float32(np.float32(percentile) / np.float32(100)) * np.float32(ratio.size))
    limit = np.sort(ratio)[kept - 1] if kept else 0.0
    assert abs(dampened - (ratio > limit * (1 + 1e-6)).sum()) <= 2
    assert dampened <= ratio.size - kept
    for name in NAMES:
        own = forgotten[name].astype(np.float64) / np.maximum(reference[name], 1e-30)
        factor = np.where(own > limit * (1 + 1e-6), np.minimum(strength / np.maximum(own, 1e-30), 1), 1)
        near = np.abs(own / max(limit, 1e-30) - 1) < 1e-5
        rounding = 2e-3 if options["dtype"] == "fp16" else 1e-5
        np.testing.assert_allclose(
            net.tensor(name)[~near], (before[name] * factor)[~near], rtol=rounding, atol=1e-7
        )
        assert not net.tensor(f"{name}.importance").any()
        if f"{name}.copy" in net.tensors():
            assert np.array_equal(net.tensor(f"{name}.copy"), net.tensor(name).astype(np.float16))


def test_threads_and_saved_states_change_no_bit():
    net, other = build(dtype="mixed").load(), build(dtype="mixed").load()
    prepared(net)
    other.load(net.save())
    assert net.dampen(90) == other.dampen(90) > 0
    assert net.save() == other.save()


def test_what_cannot_be_is_refused_and_changes_nothing():
    net = build(dtype="mixed").load()
    start = net.save()
    for call in (net.keep_importance, net.dampen):
        with pytest.raises(InputError, match="before init"):
            call()
    prepared(net, forgotten=())
    with pytest.raises(InputError, match="before init"):
        net.dampen()
    net.load(start)
    prepared(net)
    state = net.save()
    for settings_ in (
        {"percentile": -1},
        {"percentile": 100.5},
        {"percentile": float("nan")},
        {"strength": 0},
    ):
        with pytest.raises(InputError, match="setting of the call is beyond its range"):
            net.dampen(**settings_)
        assert net.save() == state
    entry = net._tensors["4.bias.importance"]
    net._arena[entry.offset : entry.offset + 4] = np.float32(np.inf).tobytes()
    with pytest.raises(InputError, match="NaN or infinite"):
        net.dampen()


def test_it_needs_importance():
    with pytest.raises(InputError, match=r'learn="dampening".*needs learn="importance,dampening"'):
        build(learn=odl.Dampening())
    with pytest.raises(InputError, match='needs a network compiled with learn="dampening"'):
        build(learn=odl.Importance()).load().dampen()


def test_a_log_with_steps_is_in_the_way():
    net = build(learn=(*LEARN, odl.Log(samples=4, states=1))).load()
    prepared(net)
    net.learn(X[0], Y[0], id=1)
    with pytest.raises(InputError, match="while the log has steps"):
        net.dampen()
    net.forget([1])
    assert net.dampen(50) > 0
