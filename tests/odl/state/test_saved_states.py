"""Saved states: what the C writes is what Python reads, and which network takes whose state."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import odl
from odl.graph.ir import Role
from odl.project.state_format import Header
from odl.state import Blob, State, find_slots, read
from tests.networks import samples, tiny, tiny_build
from tests.odl.state.states import MOMENTUM, compiled, everything, sealed, trained

BUILDS: Mapping[str, Mapping[str, Any]] = {
    "mixed, adam": {"dtype": "mixed", "optimizer": odl.Adam()},
    "fp16, momentum": {"dtype": "fp16", "optimizer": MOMENTUM},
    "fp32, trained norm": {"dtype": "fp32", "optimizer": MOMENTUM, "bn": "train", "batch": 4},
    "mixed, waiting": {"dtype": "mixed", "optimizer": MOMENTUM, "accumulate": True},
    "fp16, waiting": {"dtype": "fp16", "accumulate": True},
    "importance": {"dtype": "mixed", "bn": "frozen", "learn": ("importance",)},
}


@pytest.mark.parametrize("options", BUILDS.values(), ids=BUILDS.keys())
def test_python_reads_and_writes_the_bytes_of_c(options: Mapping[str, Any]) -> None:
    net = trained(tiny_build(**options).load())
    data = net.save()
    assert len(data) == net.project.state_bytes and Blob.of(data).to_bytes() == data
    state = read(data, net.project)
    assert state.to_bytes() == data
    for name, value in net.tensors().items():
        if value.role.saved:
            np.testing.assert_array_equal(state.tensors[name], net.tensor(name))
    assert len(state.tensors) == len(Blob.of(data).records)
    pulled, own = state.state_dict(), net.state_dict()
    assert pulled.keys() == own.keys() and all(torch.equal(pulled[name], own[name]) for name in own)


@pytest.mark.parametrize("options", BUILDS.values(), ids=BUILDS.keys())
def test_training_goes_on_bit_for_bit(options: Mapping[str, Any]) -> None:
    build = tiny_build(**options)
    net = trained(build.load())
    data, other = net.save(), trained(build.load(), seed=7)
    other.load(data)
    assert everything(other) == everything(net) and other.save() == data
    if options.get("accumulate"):
        for waiting in (net, other):
            waiting.apply()
    for step in range(50):
        x, y = samples(net.batch, 100 + step)
        assert net.train_step(x, y) == other.train_step(x, y)
    assert everything(other) == everything(net) and other.save() == net.save()


def test_pushed_weights_are_a_state_that_the_network_loads() -> None:
    build = tiny_build(dtype="mixed", optimizer=odl.Adam())
    net, weights = build.load(), build.module.state_dict()
    changed = {name: tensor + 0.5 for name, tensor in weights.items()}
    net.load(State.from_state_dict(net.project, changed).to_bytes())
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in changed.items())
    assert not net.tensor("0.weight.exp_avg").any() and net.loss_scale == build.load().loss_scale


# ------------------------------------------------------------------------------------------------ moving
#: Options that change where and how a network is stored, but not what it is.
ELSEWHERE: tuple[Mapping[str, Any], ...] = (
    {"dtype": "fp16"},
    {"dtype": "mixed"},
    {"accumulate": True},
    {"batch": 4},
    {"name": "other", "prefix": "kws"},
    {"target": "cv32e40p", "cores": 2, "dtype": "mixed"},
    {"optimizer": odl.SGD(lr=0.5, momentum=0.9)},
    {"learn": ("importance",)},
)


@pytest.mark.parametrize("options", ELSEWHERE, ids=str)
def test_a_state_moves_to_the_network_compiled_otherwise(options: Mapping[str, Any]) -> None:
    old = trained(compiled())
    new = compiled(**options)
    data = old.save()
    new.load(data)
    for name, value in old.tensors().items():
        np.testing.assert_array_equal(new.tensor(name), old.tensor(name).astype(new.tensor(name).dtype), name)
        assert np.array_equal(read(data, new.project).tensors[name], new.tensor(name)) or not value.role.saved
    assert new.loss_scale == compiled(**options).loss_scale
    back = compiled()
    back.load(new.save())
    for name in old.tensors():
        np.testing.assert_array_equal(back.tensor(name), new.tensor(name).astype(np.float32))


#: What a network takes no state of, and what it says of it.
OTHERS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "optimizer": ({"optimizer": odl.Adam()}, "another optimizer"),
    "constant": ({"optimizer": odl.SGD(momentum=0.8)}, "another optimizer"),
    "decay": ({"optimizer": odl.SGD(momentum=0.9, weight_decay=0.1)}, "another optimizer"),
    "loss": ({"loss": "mse"}, "another loss"),
    "trained": ({"update": "last:1"}, "other parameters"),
    "norm": ({"bn": "train", "batch": 4}, "other parameters"),
    "limits": (
        {
            "model": lambda: nn.Sequential(
                *(nn.ReLU6() if isinstance(item, nn.ReLU) else item for item in tiny())
            )
        },
        "another network",
    ),
    "negative slope": (
        {
            "model": lambda: nn.Sequential(
                *(nn.SiLU() if isinstance(item, nn.ReLU) else item for item in tiny())
            )
        },
        "another network",
    ),
}


@pytest.mark.parametrize(("options", "reason"), OTHERS.values(), ids=OTHERS.keys())
def test_a_state_of_another_meaning_is_refused_with_the_reason(
    options: Mapping[str, Any], reason: str
) -> None:
    net, other = trained(compiled()), compiled(**options)
    before = everything(net)
    data = other.save()
    with pytest.raises(odl.InputError, match=reason):
        net.load(data)
    assert everything(net) == before
    with pytest.raises(odl.InputError, match=reason):
        read(data, net.project)


def test_the_learning_rate_is_the_builds() -> None:
    x, y = samples(1)
    old, new, fresh = (compiled(optimizer=odl.SGD(lr=lr)) for lr in (0.5, 0.001, 0.001))
    new.load(trained(old).save())
    fresh.load_state_dict(old.state_dict())
    new.train_step(x, y)
    fresh.train_step(x, y)
    assert all(torch.equal(new.state_dict()[name], tensor) for name, tensor in fresh.state_dict().items())
    new.set_learning_rate(0.25)
    old.load(new.save())  # the state holds no rate, and a rate that was set stays
    old.set_learning_rate(0.25)
    old.train_step(x, y)
    new.train_step(x, y)
    assert all(torch.equal(new.state_dict()[name], tensor) for name, tensor in old.state_dict().items())


def test_waiting_gradients_need_a_network_that_accumulates_in_the_same_numbers() -> None:
    waiting = trained(compiled(accumulate=True))
    for options in ({}, {"accumulate": True, "dtype": "mixed"}):
        net = compiled(**options)
        before = everything(net)
        for take in (net.load, lambda data, net=net: read(data, net.project)):
            with pytest.raises(odl.InputError, match="gradients wait"):
                take(waiting.save())
        assert everything(net) == before
    waiting.apply()
    net = compiled()
    net.load(waiting.save())


def linear(dtype: str) -> odl.Net:
    """A layer with a weight for each fp16 number."""
    model = nn.Linear(256, 256, bias=False)
    return odl.compile(model, torch.zeros(1, 256), dtype=dtype, name="linear", prefix="net").load("exact")


def test_numbers_are_converted_as_numpy_converts_them() -> None:
    single, half = linear("fp32"), linear("fp16")
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    every = np.where(np.isfinite(every), every, np.float16(1)).reshape(256, 256)
    half.set_tensor("weight", every)
    single.load(half.save())
    np.testing.assert_array_equal(
        single.tensor("weight").view(np.uint32), every.astype(np.float32).view(np.uint32)
    )
    random = np.random.default_rng(0)
    between = np.concatenate(
        [
            random.uniform(-65519.9, 65519.9, 16384),
            random.standard_normal(16384) * 2.0 ** random.integers(-30, 0, 16384),
            (every.astype(np.float64).ravel()[:32768] + np.roll(every.astype(np.float64).ravel()[:32768], 1))
            / 2,
        ]
    )
    wanted = between.astype(np.float32).reshape(256, 256)
    single.set_tensor("weight", wanted)
    half.load(single.save())
    np.testing.assert_array_equal(
        half.tensor("weight").view(np.uint16), wanted.astype(np.float16).view(np.uint16)
    )


@pytest.mark.parametrize(("number", "fits"), [(65519.99, True), (65520.0, False), (-1e30, False)])
def test_a_number_beyond_fp16_is_refused(number: float, fits: bool) -> None:
    single, half = linear("fp32"), linear("fp16")
    single.set_tensor("weight", np.full((256, 256), number, np.float32))
    before = everything(half)
    for take in (half.load, lambda data: read(data, half.project)):
        if fits:
            take(single.save())
            continue
        with pytest.raises(odl.InputError, match="beyond the range"):
            take(single.save())
        assert everything(half) == before


# ------------------------------------------------------------------------------------------------ damage
def test_a_weight_that_is_not_finite_is_neither_saved_nor_loaded() -> None:
    net = trained(compiled())
    data = read(net.save(), net.project)
    for name, role in (("4.weight", Role.PARAMETER), ("4.weight.momentum_buffer", Role.OPTIMIZER)):
        assert net.tensors()[name].role is role
        tensors = dict(data.tensors)
        tensors[name] = np.full_like(tensors[name], np.inf)
        bad = State(net.project, tensors, data.words).to_bytes()
        before = everything(net)
        for take in (net.load, lambda bad: read(bad, net.project)):
            with pytest.raises(odl.InputError, match="NaN or inf"):
                take(bad)
        assert everything(net) == before
    item = next(item for item in net.project.tensors if item.value.name == "4.weight")
    net._arena[item.offset : item.offset + 4] = struct.pack("<f", float("nan"))
    with pytest.raises(odl.InputError, match="NaN or infinite"):
        net.save()


def test_another_version_of_the_format_is_named() -> None:
    net = compiled()
    later = sealed(net.save(), {Header.VERSION: 2})
    for take in (net.load, lambda data: read(data, net.project)):
        with pytest.raises(odl.InputError, match="version"):
            take(later)


def test_python_refuses_every_flipped_bit_and_truncation() -> None:
    net = odl.compile(nn.Linear(4, 3), torch.zeros(1, 4), dtype="fp16", name="small").load()
    data = net.save()
    assert isinstance(read(data, net.project), State)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(odl.InputError):
            read(bytes(damaged), net.project)
    for size in range(len(data)):
        with pytest.raises(odl.InputError):
            read(data[:size], net.project)


def slot(data: bytes, generation: int, size: int) -> bytes:
    """A slot of a dump."""
    return sealed(data, {Header.GENERATION: generation}).ljust(size, b"\xff")


@pytest.mark.parametrize("generations", [(1, 2), (2, 1), (0xFFFFFFFF, 0), (0, 0xFFFFFFFF)])
def test_the_newest_state_of_a_dump_counts(generations: tuple[int, int]) -> None:
    net = compiled()
    states = [trained(net, seed=seed).save() for seed in (1, 2)]
    size = -(-len(states[0]) // 512) * 512 + 512
    dump = b"".join(
        slot(data, generation, size) for data, generation in zip(states, generations, strict=True)
    )
    newest = 1 if generations in ((1, 2), (0xFFFFFFFF, 0)) else 0
    assert [item.offset for item in find_slots(dump)] == [0, size]
    assert read(dump, net.project).to_bytes() == sealed(
        states[newest], {Header.GENERATION: generations[newest]}
    )
    damaged = bytearray(dump)
    damaged[newest * size + 100] ^= 1
    assert read(bytes(damaged), net.project).generation == generations[1 - newest]
    damaged[(1 - newest) * size + 100] ^= 1
    with pytest.raises(odl.InputError, match="damaged"):
        read(bytes(damaged), net.project)
    foreign = slot(compiled(loss="mse").save(), generations[newest], size)
    parts = [foreign if item == newest else dump[item * size :][:size] for item in (0, 1)]
    assert read(b"".join(parts), net.project).generation == generations[1 - newest]
