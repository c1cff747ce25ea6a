"""Log and rewind: a network that forgets a sample has every bit of one that never had it."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import odl
from odl.errors import InputError
from odl.project.status import Status
from odl.state import find_slots
from tests.networks import INPUT, samples, tiny

SAMPLES, STATES = 12, 3
LOG = odl.Log(samples=SAMPLES, states=STATES)
REPLAY = odl.Replay(samples=4, mix=2)
X, Y = samples(SAMPLES)
#: A sample whose step overflows in fp16, so that it is skipped and the loss scale falls.
LOUD = X[0] * (6e4 / X[0].abs().max())

KINDS = {
    "mixed": {"dtype": "mixed"},
    "fp16 momentum": {"dtype": "fp16", "optimizer": odl.SGD(momentum=0.9)},
    "fp32 adam": {"dtype": "fp32", "optimizer": odl.Adam()},
    "mixed, last layer": {"dtype": "mixed", "update": "last:1"},
    "mixed replay": {"dtype": "mixed", "learn": (LOG, REPLAY), "accumulate": True},
    "fp16 reservoir": {
        "dtype": "fp16",
        "learn": (LOG, odl.Replay(samples=3, mix=1, eviction="reservoir")),
        "accumulate": True,
    },
}


@functools.cache
def build(kind="mixed", **options):
    return odl.compile(
        tiny(), torch.zeros(1, *INPUT), name="tiny", prefix="net", **{"learn": LOG, **KINDS[kind], **options}
    )


@functools.cache
def pair(kind):
    """Two nets of a kind, and the state that both start with."""
    net, other = build(kind).load(), build(kind).load()
    return net, other, net.save()


def learn(net, step):
    sample, rate = step
    net.set_learning_rate(rate)
    net.learn(LOUD if sample == SAMPLES else X[sample], int(Y[sample % SAMPLES]), id=sample)


STEP = st.tuples(st.integers(0, SAMPLES), st.sampled_from([0.01, 0.05]))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=170, deadline=None)
@given(
    steps=st.lists(STEP, min_size=1, max_size=SAMPLES),
    picks=st.lists(st.integers(0, 99), min_size=1, max_size=4),
)
def test_forgetting_gives_the_bits_of_never_having_learned(kind, steps, picks):
    """Six kinds of 170 random deletions; a sample may be learned several times, or overflow."""
    net, never, start = pair(kind)
    net.load(start)
    never.load(start)
    gone = {steps[pick % len(steps)][0] for pick in picks}
    for step in steps:
        learn(net, step)
    for step in steps:
        if step[0] not in gone:
            learn(never, step)
    cost, before = net.forget_steps(gone), net.log_count
    net.forget(gone)
    assert net.save() == never.save()
    assert net.digest() == never.digest()
    assert net.log_count == never.log_count <= cost + SAMPLES <= before + SAMPLES
    learn(net, (1, 0.02))
    learn(never, (1, 0.02))
    assert net.save() == never.save()


@pytest.mark.parametrize("cut", range(10))
@pytest.mark.parametrize("kind", ["mixed", "mixed replay"])
def test_a_power_cut_changes_nothing(kind, cut):
    """A reset after any step, also just before the log keeps a state."""
    net, never, start = pair(kind)
    net.load(start)
    never.load(start)
    for index in range(9):
        if index == cut:
            saved, net = net.save(), build(kind).load()
            net.load(saved)
        learn(net, (index, 0.01))
        if index != 5:
            learn(never, (index, 0.01))
    net.forget([5])
    assert net.save() == never.save() and net.digest() == never.digest()


def test_the_cost_is_the_steps_behind_the_last_state_before_the_sample():
    net, _, start = pair("mixed")
    net.load(start)
    for index in range(10):
        learn(net, (index, 0.01))
    assert [net.forget_steps([index]) for index in (0, 3, 4, 7, 8, 9)] == [9, 9, 5, 5, 1, 1]
    assert net.forget_steps([8, 9]) == 0 and net.forget_steps([11]) == 0


def test_the_learning_rate_goes_on_as_it_was_set():
    net, _, start = pair("mixed")
    net.load(start)
    for index in range(3):
        learn(net, (index, 0.5))
    net.set_learning_rate(0.0)
    net.forget([1])
    before = net.tensor("0.weight")
    net.learn(X[3], Y[3], id=3)
    assert np.array_equal(net.tensor("0.weight"), before)


@pytest.mark.parametrize("kind", ["mixed", "mixed replay"])
def test_what_is_refused_changes_nothing(kind):
    net, _, start = pair(kind)
    net.load(start)
    for index in range(SAMPLES):
        learn(net, (index, 0.01))
    state = net.save()
    nan = X[0].clone()
    nan[0, 0, 0] = np.nan
    for call, message in (
        (lambda: net.learn(X[0], Y[0], id=1), "the log has no room"),
        (lambda: net.forget([3, 77]), "not in the log"),
        (lambda: net.forget(range(SAMPLES + 1)), "room for 12 samples"),
        (lambda: net.forget([-1]), "id=-1: must be a whole number"),
        (lambda: net.train_step(X[0], Y[0]), "the log has steps"),
        (lambda: net.load_state_dict(net.state_dict()), r"the log has steps.*drop_log\(\)"),
    ):
        with pytest.raises(InputError, match=message):
            call()
        assert net.save() == state
    net.load(start)
    for call, message in (
        (lambda: net.learn(nan, Y[0]), "NaN"),
        (lambda: net.learn(X[0], 3), "label 3"),
        (lambda: net.learn(X[0], 0, id=2**32), "id=4294967296: must be"),
        (lambda: net.learn(X[:2], Y[:2]), "x has 2 samples"),
    ):
        with pytest.raises(InputError, match=message):
            call()
        assert net.save() == start
    net.forget([])
    assert net.save() == start


def test_what_the_c_refuses_leaves_no_trace():
    """Python sees NaN and labels first; a firmware has only the C."""
    net, _, start = pair("mixed replay")
    net.load(start)
    learn(net, (0, 0.01))
    state, library, ffi = net.save(), net._host, net._ffi
    loud = ffi.new("float[]", [1e9] * X[0].numel())
    quiet = ffi.new("float[]", X[0].numel())
    label, wrong = ffi.new("uint32_t *", 1), ffi.new("uint32_t *", 3)
    assert library.learn(loud, label, 7, ffi.NULL) == Status.BAD_INPUT
    assert library.learn(quiet, wrong, 7, ffi.NULL) == Status.BAD_LABEL
    sound = net.state_dict()
    for name, infinity in (("0.weight", np.float32(np.inf)), ("0.weight.copy", np.float16(np.inf))):
        entry = net._tensors[name]
        net._arena[entry.offset : entry.offset + infinity.nbytes] = infinity.tobytes()
    assert library.learn(quiet, label, 7, ffi.NULL) == Status.BAD_WEIGHTS
    net.set_tensor("0.weight", sound["0.weight"].numpy())
    assert net.save() == state


def test_dropping_makes_room_and_the_rest_can_still_be_forgotten():
    net, never, start = pair("mixed")
    net.load(start)
    never.load(start)
    for index in range(SAMPLES):
        learn(net, (index, 0.01))
        if index != 6:
            learn(never, (index, 0.01))
    net.drop_log()
    assert net.log_count == SAMPLES - LOG.slice
    with pytest.raises(InputError, match="not in the log"):
        net.forget([2])
    net.forget([6])
    for name in never.tensors():
        if not name.startswith("log."):
            assert np.array_equal(net.tensor(name), never.tensor(name)), name
    while net.log_count:
        net.drop_log()
    net.load_state_dict(never.state_dict())
    assert not net.tensor("log.samples").any() and not net.tensor("log.states").any()
    net.drop_log()
    net.train_step(X[0], Y[0])


def test_nothing_of_a_forgotten_sample_is_left():
    net, _, start = pair("fp32 adam")
    net.load(start)
    for index in range(9):
        learn(net, (index, 0.01))
    net.forget([8, 0])
    for index in (0, 8):
        needle = X[index].permute(1, 2, 0).contiguous().numpy().tobytes()
        assert needle not in bytes(net._arena) and needle not in net.save()


def test_the_digest_is_that_of_the_saved_state_and_sees_every_part_of_it():
    net, _, start = pair("mixed replay")
    net.load(start)
    for index in range(6):
        learn(net, (index, 0.01))
    digest, state = net.digest(), net.save()
    (slot,) = find_slots(state)
    assert slot.blob.digest == digest
    assert net.save() == state
    for name in net.tensors():
        entry = net._tensors[name]
        if not entry.value.role.saved:
            continue
        net._arena[entry.offset] = bytes([net._arena[entry.offset][0] ^ 1])
        assert net.digest() != digest, name
        net._arena[entry.offset] = bytes([net._arena[entry.offset][0] ^ 1])
    assert net.digest() == digest
    net.set_learning_rate(0.5)
    assert net.digest() == digest


def test_other_settings_and_other_arithmetic_take_the_weights_but_no_log():
    net, _, start = pair("mixed")
    net.load(start)
    learn(net, (0, 0.01))
    others = [
        build("mixed", learn=odl.Log(samples=SAMPLES, states=STATES + 1)),
        build("mixed", dtype="fp32"),
        build("mixed", target="qemu"),
    ]
    for other in others:
        taking = other.load()
        taking.load(net.save())
        assert taking.log_count == 0 and not taking.tensor("log.states").any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learn": odl.Replay()}, 'learn="replay" adds the gradients.*needs accumulate=True'),
        ({"loss": "mse"}, 'learn="log" keeps single samples.*batch of 1.*loss="cross_entropy"'),
    ],
)
def test_what_it_cannot_be_is_said(options, message):
    with pytest.raises(InputError, match=message):
        build("mixed", **options)


def test_a_batch_is_refused():
    with pytest.raises(InputError, match='learn="log" keeps single samples'):
        odl.compile(tiny(), torch.zeros(2, *INPUT), learn=LOG)


@pytest.mark.parametrize(
    "field", [{"samples": 0}, {"states": 5, "samples": 4}, {"samples": 1.5}, {"states": "2"}]
)
def test_settings_are_within_limits(field):
    with pytest.raises(InputError, match=r"log_(samples|states)="):
        odl.Log(**field)


def test_without_a_log_the_calls_say_what_they_need():
    net = odl.compile(tiny(), torch.zeros(1, *INPUT)).load()
    for call in (lambda: net.learn(X[0], 0), lambda: net.forget([1]), net.digest, net.drop_log):
        with pytest.raises(InputError, match='needs a network compiled with learn="log"'):
            call()
    assert net.log_count == 0
