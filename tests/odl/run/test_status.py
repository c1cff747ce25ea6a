"""Every call that goes wrong says so in one status, and leaves what outlives it as it was, on every executor."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import odl
from odl.errors import InputError, MissingToolError
from odl.graph.ir import Role
from odl.project.entry_point import CType
from odl.project.status import Status
from odl.run.net import Net
from tests.networks import CLASSES, INPUT, samples, tiny, tiny_build

DTYPES = ("fp32", "fp16", "mixed")
TARGETS = ("host", "cv32e40p", "qemu")
X, Y = (item.numpy() for item in samples(1))
TARGET = np.eye(CLASSES, dtype=np.float32)[Y]
IMAGE = X.transpose(0, 2, 3, 1)
NAN, INF = np.float32(math.nan), np.float32(math.inf)


@dataclass(frozen=True)
class Handed:
    """What C is handed, whatever Python's interface would say of it."""

    x: Any = field(default_factory=lambda: IMAGE)
    target: Any = field(default_factory=lambda: TARGET)
    sample_weight: Any = None
    call: str = "train_step"

    def to(self, net: Net) -> Status:
        """The status of the call, which Python raises where the caller is at fault."""
        given = {Role.INPUT: self.x, Role.TARGET: self.target, Role.SAMPLE_WEIGHT: self.sample_weight}
        point = net._entry_points[self.call]
        taken = {item.role: item.name for item in point.parameters}
        arrays = {taken[role]: array for role, array in given.items() if array is not None and role in taken}
        return outcome(net, lambda: net._call(point, arrays))


def outcome(net: Net, call: Callable[[], Any]) -> Status:
    """A call's status; Python raises its text just where the caller is at fault."""
    raised = None
    try:
        call()
    except InputError as error:
        raised = error.message
    assert raised == (net.status.text if net.status.raised else None)
    return net.status


def poked(array: np.ndarray, value: float, at: int = 1) -> np.ndarray:
    changed = np.array(array, dtype=np.float32, order="C")
    changed.reshape(-1)[at] = value
    return changed


WEIGHT = np.ones(1, dtype=np.float32)
BAD = {
    "NaN in the input": (Handed(x=poked(IMAGE, NAN)), Status.BAD_INPUT),
    "infinity in the last of the input": (Handed(x=poked(IMAGE, -INF, -1)), Status.BAD_INPUT),
    "NaN in the input of an inference": (Handed(x=poked(IMAGE, NAN), call="infer"), Status.BAD_INPUT),
    "NaN in the target": (Handed(target=poked(TARGET, NAN)), Status.BAD_TARGET),
    "infinity in the target": (Handed(target=poked(TARGET, INF)), Status.BAD_TARGET),
    "a negative probability": (Handed(target=np.float32([[-0.5, 1.5, 0]])), Status.BAD_TARGET),
    "probabilities of sum 1.002": (Handed(target=np.float32([[0.501, 0.501, 0]])), Status.BAD_TARGET),
    "NaN in a weight": (Handed(sample_weight=poked(WEIGHT, NAN, 0)), Status.BAD_SAMPLE_WEIGHT),
    "an infinite weight": (Handed(sample_weight=poked(WEIGHT, -INF, 0)), Status.BAD_SAMPLE_WEIGHT),
    "no such class": (Handed(target=np.array([CLASSES]), call="train_label"), Status.BAD_LABEL),
    "two faults": (Handed(x=poked(IMAGE, NAN), target=poked(TARGET, NAN)), Status.BAD_INPUT),
}


@cache
def net_of(dtype: str, target: str = "host", **options: Any) -> Net:
    try:
        return tiny_build(dtype=dtype, target=target, **options).load()
    except MissingToolError as error:
        pytest.skip(str(error))


def trained(net: Net) -> Net:
    """After a good step, so that no state is what it starts with."""
    net._lib.init()
    assert Handed().to(net) is Status.OK
    return net


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BAD)
def test_a_refused_call_changes_nothing(name: str, dtype: str) -> None:
    handed, expected = BAD[name]
    net = trained(net_of(dtype))
    before = net.save()
    assert handed.to(net) is expected
    assert net.save() == before


@pytest.mark.parametrize("target", TARGETS[1:])
@pytest.mark.parametrize("name", list(BAD)[::2])
def test_a_device_refuses_the_same(name: str, target: str) -> None:
    handed, expected = BAD[name]
    net = net_of("fp16", target)
    before = net.save()
    assert handed.to(net) is expected
    assert net.save() == before


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_number_beyond_the_type_of_the_input(dtype: str, target: str) -> None:
    if target != "host" and dtype != "mixed":
        return
    net = net_of(dtype, target)
    for value, fits in ((65519.996, True), (65520.0, dtype == "fp32"), (-7e4, dtype == "fp32")):
        before = net.save()
        found = Handed(x=poked(IMAGE, value), call="infer").to(net)
        assert (found is not Status.BAD_INPUT) == fits
        assert net.save() == before


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_input_that_is_no_whole_number_of_vectors(dtype: str) -> None:
    """The C of the cluster, which converts the input in its L1, on this machine."""
    torch.manual_seed(0)
    module = nn.Linear(9, 3)
    nets = [
        odl.compile(module, torch.zeros(1, 9), dtype=dtype, prefix="net", **options).load("exact")
        for options in ({}, {"target": "cv32e40p"})
    ]
    x = np.random.default_rng(0).standard_normal((1, 9)).astype(np.float32)
    outputs = [net.infer(x) for net in nets]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=0.01, atol=0.01)
    for net in nets:
        assert Handed(x=poked(x, NAN, -1), call="infer").to(net) is Status.BAD_INPUT
        other = x.copy()
        other[0, -1] += 1.0
        assert not np.array_equal(net.infer(other), net.infer(x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_order_of_calls(dtype: str) -> None:
    net = trained(net_of(dtype, accumulate=True))
    before = net.save()
    assert outcome(net, net.apply) is Status.WRONG_ORDER
    assert net.save() == before
    assert Handed(call="accumulate").to(net) is Status.OK
    before = net.save()
    assert Handed().to(net) is Status.WRONG_ORDER
    assert Handed(target=Y, call="train_label").to(net) is Status.WRONG_ORDER
    assert net.save() == before
    assert outcome(net, net.apply) is Status.OK


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_call_comes_before_init(dtype: str) -> None:
    net = tiny_build(dtype=dtype).load()
    for memory in (net._words, net._arena):
        memory[:] = bytes(len(memory))
    for call in ("train_step", "infer"):
        assert Handed(call=call).to(net) is Status.WRONG_ORDER
    assert Handed(target=Y, call="train_label").to(net) is Status.WRONG_ORDER
    assert outcome(net, lambda: net.set_learning_rate(0.1)) is Status.WRONG_ORDER
    assert not any(bytes(net._words)) and not any(bytes(net._arena))


def test_no_call_of_an_option_comes_before_init() -> None:
    net = tiny_build(accumulate=True, learn="importance").load()
    for memory in (net._words, net._arena):
        memory[:] = bytes(len(memory))
    for call in ("accumulate", "apply", "importance", "reset_importance"):
        assert Handed(call=call).to(net) is Status.WRONG_ORDER
    assert not any(bytes(net._words)) and not any(bytes(net._arena))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("call", ["accumulate", "importance", "train_step"])
def test_calls_of_options_refuse_the_same(call: str, dtype: str) -> None:
    net = trained(net_of(dtype, accumulate=True, learn="importance"))
    before = net.save()
    assert Handed(x=poked(IMAGE, NAN), call=call).to(net) is Status.BAD_INPUT
    assert Handed(target=poked(TARGET, NAN), call=call).to(net) is Status.BAD_TARGET
    assert net.save() == before
    assert Handed(call=call).to(net) is Status.OK and net.save() != before


@pytest.mark.parametrize("dtype", DTYPES)
def test_importance_of_a_sample_that_overflows_is_no_sum(dtype: str) -> None:
    net = net_of(dtype, learn="importance", loss="mse")
    assert Handed(call="importance").to(net) is Status.OK
    before = net.save()
    for target in (poked(TARGET, 3e38), poked(TARGET, -3e38)):
        assert Handed(target=target, call="importance").to(net) is Status.OVERFLOW
        assert net.save() == before


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_loss_that_nobody_asks_for_changes_nothing(dtype: str) -> None:
    states = []
    for asked in (True, False):
        net = tiny_build(dtype=dtype, accumulate=True, learn="importance").load()
        loss = net._ffi.new("float *") if asked else net._ffi.NULL
        x, target = (net._numbers(item, CType.FLOATS_IN) for item in (IMAGE, TARGET))
        label = net._numbers(Y, CType.COUNTS_IN)
        for status in (
            net._lib.train_step(x, target, net._ffi.NULL, loss),
            net._lib.train_label(x, label, net._ffi.NULL, loss),
            net._lib.accumulate(x, target, net._ffi.NULL, loss),
            net._lib.importance(x, target, loss),
        ):
            assert Status.of(status) is Status.OK
        states.append(net.save())
    assert states[0] == states[1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_class_number_trains_as_its_probabilities_do(dtype: str) -> None:
    states = []
    for handed in (Handed(), Handed(target=Y, call="train_label")):
        net = trained(net_of(dtype))
        assert handed.to(net) is Status.OK
        states.append(net.save())
    assert states[0] == states[1]


def test_an_inference_that_overflows_with_sound_weights_says_so() -> None:
    net = trained(net_of("fp16", loss="mse"))
    before = net.save()
    assert Handed(x=65000 * np.sign(IMAGE), call="infer").to(net) is Status.OVERFLOW
    assert net.save() == before


def test_a_loss_scale_at_its_largest_stays_there() -> None:
    torch.manual_seed(0)
    net = odl.compile(
        nn.Linear(4, 3), torch.zeros(1, 4), dtype="mixed", loss_scale=65536.0, prefix="net"
    ).load()
    for _ in range(1001):
        net.train_step(np.full((1, 4), 1e-3), np.array([0]), np.array([1e-3]))
        assert net.status is Status.OK and net.loss_scale == 65536.0


@pytest.mark.parametrize("rate", [-0.5, math.nan, math.inf, -math.inf])
def test_a_learning_rate_that_is_none(rate: float) -> None:
    net = trained(net_of("fp16"))
    before = net.save()
    assert Status.of(net._lib.set_learning_rate(rate)) is Status.BAD_LEARNING_RATE
    assert net.save() == before
    assert Status.of(net._lib.set_learning_rate(0.0)) is Status.OK


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["fp16", "mixed"])
def test_an_overflow_is_counted_and_halves_the_scale_down_to_its_floor(dtype: str, target: str) -> None:
    if target != "host" and dtype == "mixed":
        return
    options = {"loss_scale": 2.0, "bn": "frozen"}
    net = (
        tiny_build(dtype=dtype, target=target, **options).load()
        if target == "host"
        else net_of(dtype, target, **options)
    )
    huge = Handed(x=60000 * np.sign(IMAGE))
    tensors = {name: net.tensor(name) for name in net.tensors()}
    seen = [huge.to(net) for _ in range(3)]
    assert seen == [Status.OVERFLOW, Status.SCALE_FLOOR, Status.SCALE_FLOOR]
    assert net.skipped_steps == 3 and net.loss_scale == 1.0
    for name, array in tensors.items():
        assert np.array_equal(net.tensor(name), array), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_statistics_stay_with_a_step_that_is_skipped(dtype: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    net = odl.compile(module, torch.zeros(1, 1, 6, 6), bn="train", dtype=dtype, loss="mse").load()
    x = np.random.default_rng(0).standard_normal((1, 1, 6, 6)).astype(np.float32)
    net.train_step(x, np.zeros((1, 2)))
    before = {name: net.tensor(name) for name in net.tensors()}
    counted = net.state_dict()["1.num_batches_tracked"]
    net.train_step(x + 1, np.full((1, 2), 3e38 if dtype == "fp32" else 1e8))
    assert net.status is Status.OVERFLOW
    assert all(np.array_equal(net.tensor(name), array) for name, array in before.items())
    assert net.state_dict()["1.num_batches_tracked"] == counted
    net.train_step(x + 1, np.zeros((1, 2)))
    assert not np.array_equal(net.tensor("1.running_mean"), before["1.running_mean"])


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_accumulation_that_overflows_drops_the_sum_and_skips_the_update(dtype: str) -> None:
    net = odl.compile(
        nn.Sequential(nn.Linear(4, 3)), torch.zeros(1, 4), loss="mse", dtype=dtype, accumulate=True
    ).load()
    x, huge = np.ones((1, 4)), np.full((1, 3), 3e38 if dtype == "fp32" else 1e8)
    before = net.state_dict()
    net.accumulate(x, np.zeros((1, 3)))
    net.accumulate(x, huge)
    assert net.status is Status.OVERFLOW
    sums = np.frombuffer(net._arena[: net.persistent_bytes], np.float16 if dtype == "fp16" else np.float32)
    assert np.isfinite(sums).all()
    net.accumulate(x, np.zeros((1, 3)))
    assert net.status is Status.OK
    net.apply()
    assert net.status is Status.OVERFLOW and net.skipped_steps == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    net.accumulate(x, np.zeros((1, 3)))
    net.apply()
    assert net.status is Status.OK


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("options", [{}, {"accumulate": True}], ids=["step", "apply"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_update_that_leaves_the_range_is_named(dtype: str, options: Any, target: str) -> None:
    """Finite gradients, and a learning rate that no weight survives; what follows finds the weights destroyed."""
    if target != "host" and (dtype == "fp32" or options):
        return
    net = tiny_build(dtype=dtype, target=target, **options).load()
    net.set_learning_rate(3e38)
    factor = np.float32([1e4 if dtype == "fp32" else 1])
    assert Handed(sample_weight=factor).to(net) is Status.UPDATE_OVERFLOW
    assert Handed(call="infer").to(net) is Status.BAD_WEIGHTS
    net._lib.init()
    assert Handed().to(net) is Status.OK


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_that_somebody_destroyed_are_named(dtype: str) -> None:
    net = tiny_build(dtype=dtype).load()
    item = net._tensors["0.weight"]
    net._arena[item.offset : item.offset + item.value.size_bytes] = b"\xff" * item.value.size_bytes
    assert Handed(call="infer").to(net) in (Status.BAD_WEIGHTS, Status.OK)  # mixed computes with a copy
    if dtype == "mixed":
        assert Status.of(net._host.refresh()) is Status.BAD_WEIGHTS
    else:
        assert Handed().to(net) is Status.BAD_WEIGHTS
    assert net.skipped_steps == 0


@pytest.mark.parametrize("dtype", ["fp16", "mixed"])
def test_weights_beyond_fp16_are_refused_at_compile_and_load(dtype: str) -> None:
    module = tiny()
    state = module.state_dict()
    net = tiny_build(dtype=dtype).load()
    state["4.weight"][0, 0] = 65505.0
    folded = {name: net.state_dict()[name] for name in net.state_dict()}
    folded["4.weight"] = state["4.weight"]
    before = net.save()
    with pytest.raises(InputError, match=r"'4.weight' holds 65505; the largest fp16 number is 65504"):
        net.load_state_dict(folded)
    assert net.save() == before
    with pytest.raises(InputError, match=r"'4.weight' holds 65505; the largest fp16 number is 65504"):
        odl.compile(module, torch.zeros(1, *INPUT), dtype=dtype)
    odl.compile(module, torch.zeros(1, *INPUT), dtype="fp32")


def float_of(bits: int) -> np.float32:
    return np.array(bits, dtype=np.uint32).view(np.float32)[()]


def numbers(count: int) -> st.SearchStrategy[Any]:
    """Arrays of float32 of any bits, most of them usual numbers."""
    anything = st.integers(0, 2**32 - 1).map(float_of)
    usual = st.floats(-2, 2, width=32).map(np.float32)
    return st.lists(st.one_of(usual, usual, usual, anything), min_size=count, max_size=count).map(np.array)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(DTYPES),
    st.sampled_from(("cross_entropy", "mse")),
    numbers(4),
    st.one_of(numbers(3), st.integers(0, 2).map(lambda label: np.eye(3)[label])),
    numbers(1),
)
def test_no_bits_destroy_the_state(dtype: str, loss: str, x: Any, target: Any, weight: Any) -> None:
    net = dense(dtype, loss)
    before, tensors = net.save(), {name: net.tensor(name) for name in net.tensors()}
    found = Handed(x, target, weight).to(net)
    assert all(np.isfinite(net.tensor(name)).all() for name in tensors)
    if found.refused:
        assert net.save() == before
    elif found is not Status.OK:
        assert all(np.array_equal(net.tensor(name), array) for name, array in tensors.items())
        assert net.skipped_steps > 0


@cache
def dense_build(dtype: str, loss: str) -> odl.Build:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    return odl.compile(module, torch.zeros(1, 4), loss=loss, dtype=dtype)


@cache
def dense(dtype: str, loss: str) -> Net:
    return dense_build(dtype, loss).load()


def test_the_table_of_statuses_is_sound() -> None:
    assert len({int(item) for item in Status}) == len(Status) and int(Status.OK) == 0
    assert all(item.text for item in Status)


@pytest.mark.parametrize("target", [100.0, 300.0, 1000.0])
def test_fp16_learns_targets_of_ordinary_physical_size(target: float) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    losses: dict[str, list[float]] = {}
    for dtype in ("fp32", "fp16"):
        net = odl.compile(
            module, torch.zeros(1, 4), loss="mse", dtype=dtype, optimizer=odl.SGD(lr=1e-4)
        ).load()
        while len(losses.setdefault(dtype, [])) < 50:
            loss = net.train_step(torch.ones(1, 4), torch.tensor([[target]]))
            if net.status is Status.OK:
                losses[dtype].append(loss)
        assert all(bool(torch.isfinite(tensor).all()) for tensor in net.state_dict().values())
    for fp16, fp32 in zip(losses["fp16"], losses["fp32"], strict=True):
        assert abs(fp16 - fp32) < 0.02 * losses["fp32"][0]
