"""Sums of squared gradients of single samples, against float64 PyTorch."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

import odl
from odl.errors import InputError
from odl.graph.ir import Role
from tests.networks import INPUT, samples, tiny, tiny_build

SAMPLES = 5
#: The error of a sum relative to its norm, twice that of its gradients.
BOUNDS = {"fp32": 1e-6, "fp16": 4e-3, "mixed": 4e-3}


def expected(module):
    """The sums in float64, by parameter."""
    module = module.double()
    sums = {name: np.zeros(parameter.shape) for name, parameter in module.named_parameters()}
    for x, y in zip(*samples(SAMPLES), strict=True):
        module.zero_grad()
        functional.cross_entropy(module(x[None].double()), y[None]).backward()
        for name, parameter in module.named_parameters():
            sums[name] += parameter.grad.numpy() ** 2
    return sums


def add_all(net):
    return [net.call("importance", x, y) for x, y in zip(*samples(SAMPLES), strict=True)]


def records(net):
    return {name: net.tensor(name) for name, value in net.tensors().items() if value.role is Role.RECORD}


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "fp32", "optimizer": odl.Adam()},
        {"dtype": "fp16"},
        {"dtype": "mixed"},
        {"dtype": "mixed", "bn": "frozen", "optimizer": odl.SGD(momentum=0.9)},
        {"dtype": "mixed", "accumulate": True},
    ],
    ids=str,
)
def test_sums_are_those_of_float64_pytorch_and_nothing_else_changes(options):
    build = odl.compile(tiny(), torch.zeros(1, *INPUT), learn="importance", **options)
    net = build.load()
    before = {name: net.tensor(name) for name in net.tensors()}
    losses = add_all(net)
    x, y = samples(SAMPLES)
    module = build.module.double()
    with torch.no_grad():
        wanted = functional.cross_entropy(module(x.double()), y, reduction="none")
    np.testing.assert_allclose(losses, wanted, rtol=BOUNDS[options["dtype"]])
    sums = expected(build.module)
    assert records(net).keys() == {f"{name}.importance" for name in sums}
    for name, exact in sums.items():
        error = np.linalg.norm(net.tensor(f"{name}.importance") - exact) / np.linalg.norm(exact)
        assert error < BOUNDS[options["dtype"]], name
    for name, tensor in before.items():
        if not name.endswith(".importance"):
            assert np.array_equal(net.tensor(name), tensor), name


def test_training_has_the_same_bits_with_and_without():
    plain, learning = tiny_build(dtype="mixed").load(), tiny_build(dtype="mixed", learn="importance").load()
    for x, y in zip(*samples(SAMPLES), strict=True):
        learning.call("importance", x, y)
        assert plain.train_step(x, y) == learning.train_step(x, y)
    for name in plain.tensors():
        assert np.array_equal(plain.tensor(name), learning.tensor(name)), name


def test_sums_are_saved_reset_and_no_part_of_the_module():
    build = tiny_build(dtype="mixed", learn="importance")
    net, other = build.load(), build.load()
    add_all(net)
    sums = records(net)
    other.load(net.save())
    assert all(np.array_equal(array, other.tensor(name)) and array.any() for name, array in sums.items())
    net.call("reset_importance")
    assert not any(array.any() for array in records(net).values())
    assert net.state_dict().keys() == tiny_build(dtype="mixed").load().state_dict().keys()
    assert build.memory["ram"]["by_purpose"]["records"] == sum(array.nbytes for array in sums.values())


def test_only_the_parameters_that_are_trained_have_sums():
    net = tiny_build(dtype="mixed", learn="importance", update="last:1").load()
    assert records(net).keys() == {"4.weight.importance", "4.bias.importance"}


@pytest.mark.parametrize("options", [{"dtype": "fp32"}, {"dtype": "mixed", "accumulate": True}], ids=str)
def test_such_a_project_is_verified_like_any_other(options):
    assert tiny_build(learn="importance", **options).verify(steps=1, accumulated=2).ok


def test_a_project_says_that_it_learns_importance_and_others_say_nothing(tmp_path):
    tiny_build(dtype="mixed", learn="importance").save(tmp_path / "with")
    tiny_build(dtype="mixed").save(tmp_path / "without")
    given = json.loads((tmp_path / "with" / "manifest.json").read_text())
    assert given["options"]["learn"] == ["importance"]
    assert "learn" not in json.loads((tmp_path / "without" / "manifest.json").read_text())["options"]
    assert "net_importance" in (tmp_path / "with" / "net.h").read_text()
    assert "importance" not in (tmp_path / "without" / "net.h").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"learn": "importnace"},
            'learn="importnace": must be some of dampening, head, importance, log, replay, watch',
        ),
        (
            {"learn": "importance", "bn": "train"},
            'learn="importance" squares.*batch of 1.*bn="fold" or "frozen"',
        ),
        ({"learn": "importance", "batch": 2}, 'learn="importance" squares.*batch of 1'),
    ],
)
def test_what_it_cannot_be_is_said(options, message):
    with pytest.raises(InputError, match=message):
        tiny_build(**options)


def test_a_project_without_it_says_what_it_needs():
    with pytest.raises(InputError, match='needs a network compiled with learn="importance"'):
        tiny_build(dtype="mixed").load().call("importance", *samples(1))
