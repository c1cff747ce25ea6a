"""Every optimizer that is found: its limits, its manifest, its twin in PyTorch, and its updates against the twin's."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import odl
from odl.errors import InputError
from odl.optimizers import CHOICES, OPTIMIZERS, from_manifest, make_optimizer
from odl.optimizers.adam import Adam
from odl.optimizers.base import BELOW_ONE, NOT_NEGATIVE, Optimizer, Update
from odl.optimizers.sgd import SGD
from tests import networks
from tests.networks import tiny_build

NAN, INF = float("nan"), float("inf")
#: What a field can be besides its default.
OTHER = {BELOW_ONE.text: 0.5, NOT_NEGATIVE.text: 0.05}


def everything_set(kind: type[Optimizer]) -> Optimizer:
    """An optimizer none of whose switches, decays and rates of decay has its default."""
    changed: dict[str, Any] = {}
    for item in dataclasses.fields(kind):
        other = OTHER.get(item.metadata["limits"].text)
        if other is not None:
            changed[item.name] = (other,) * len(item.default) if isinstance(item.default, tuple) else other
        elif isinstance(item.default, bool):
            changed[item.name] = not item.default
    return dataclasses.replace(kind(), **changed)


#: Each optimizer with its defaults, each preset, and each optimizer with everything set.
EVERY = {**CHOICES, **{f"{name} with everything": everything_set(kind) for name, kind in OPTIMIZERS.items()}}


def fields() -> list[tuple[type[Optimizer], dataclasses.Field[Any]]]:
    return [
        (kind, item)
        for kind in OPTIMIZERS.values()
        for item in dataclasses.fields(kind)
        if not isinstance(item.default, bool)
    ]


# --- fields ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "item"), [pytest.param(kind, item, id=f"{kind.name} {item.name}") for kind, item in fields()]
)
@pytest.mark.parametrize("number", [-1.0, -1e-9, NAN, INF])
def test_fields_beyond_their_limits(
    kind: type[Optimizer], item: dataclasses.Field[Any], number: float
) -> None:
    value = (number, *item.default[1:]) if isinstance(item.default, tuple) else number
    with pytest.raises(InputError) as error:
        dataclasses.replace(kind(), **{item.name: value})
    limits = item.metadata["limits"].text
    option = f"--{item.name.replace('_', '-')}"
    assert str(error.value) == f"{item.name}={value}: {limits}"
    assert error.value.on_command_line == f"{option} {value}: {limits}"


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (SGD, {"lr": 0.0}, "--lr 0.0: the learning rate must be positive and finite"),
        (SGD, {"lr": -1.0}, "--lr -1.0: the learning rate must be positive"),
        (SGD, {"lr": NAN}, "--lr nan: the learning rate must be positive"),
        (Adam, {"lr": INF}, "--lr inf: the learning rate must be positive and finite"),
        (SGD, {"momentum": 1.0}, "--momentum 1.0: must be at least 0 and below 1"),
        (SGD, {"momentum": -0.1}, "--momentum -0.1: must be at least 0 and below 1"),
        (SGD, {"momentum": NAN}, "--momentum nan: must be at least 0 and below 1"),
        (SGD, {"weight_decay": -1.0}, "--weight-decay -1.0: must be zero or positive"),
        (Adam, {"weight_decay": NAN}, "--weight-decay nan: must be zero or positive"),
        (Adam, {"betas": (0.9, 1.0)}, "--betas (0.9, 1.0): must be at least 0 and below 1"),
        (Adam, {"betas": (NAN, 0.9)}, "must be at least 0 and below 1"),
        (Adam, {"eps": 0.0}, "--eps 0.0: must be positive"),
    ],
)
def test_values_that_cannot_be(kind: type[Optimizer], values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        kind(**values)
    assert message in error.value.on_command_line and "\n" not in str(error.value)


@pytest.mark.parametrize("name", EVERY)
def test_a_manifest_gives_the_same_optimizer_back(name: str) -> None:
    entry = json.loads(json.dumps(EVERY[name].manifest()))
    assert from_manifest(entry) == EVERY[name]
    assert list(entry) == ["name", *(item.name for item in dataclasses.fields(EVERY[name]))]


def test_a_manifest_of_an_optimizer_that_this_release_lacks() -> None:
    with pytest.raises(InputError, match="the project's optimizer 'lion' is none of sgd, adam"):
        from_manifest({"name": "lion", "lr": 0.1})


# --- names ----------------------------------------------------------------------------------------------


def test_optimizers_are_public_by_the_names_of_their_classes() -> None:
    names = {kind.__name__: kind for kind in OPTIMIZERS.values()}
    assert names.keys() >= {"SGD", "Adam"}
    assert set(odl.__all__) >= names.keys() and set(dir(odl)) >= names.keys()
    assert {name: getattr(odl, name) for name in names} == names
    everything: dict[str, Any] = {}
    exec("from odl import *", everything)
    assert everything["SGD"] is SGD and everything["compile"] is odl.compile
    with pytest.raises(AttributeError, match="module 'odl' has no attribute 'Lion'"):
        odl.Lion  # noqa: B018


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("sgd", {"lr": None, "momentum": None, "weight_decay": None}, SGD(0.01, 0.0, 0.0)),
        ("sgd", {"lr": 0.1, "momentum": 0.5, "weight_decay": 1e-4}, SGD(0.1, 0.5, 1e-4)),
        ("momentum", {}, SGD(0.01, 0.9, 0.0)),
        ("momentum", {"lr": 0.2, "momentum": 0.8}, SGD(0.2, 0.8, 0.0)),
        ("momentum", {"momentum": 0.0}, SGD(0.01, 0.0, 0.0)),
        ("adam", {"lr": None, "momentum": None}, Adam(0.001)),
        ("adam", {"lr": 0.01, "weight_decay": 1e-4}, Adam(0.01, weight_decay=1e-4)),
        ("adam", {"betas": (0.8, 0.9)}, Adam(betas=(0.8, 0.9))),
    ],
)
def test_optimizers_of_the_command_line(name: str, given: dict[str, Any], expected: Optimizer) -> None:
    assert make_optimizer(name, given) == expected


def test_optimizers_that_cannot_be() -> None:
    with pytest.raises(InputError) as error:
        make_optimizer("lion", {})
    assert error.value.on_command_line.startswith("--optimizer lion: must be one of sgd, momentum, adam")
    with pytest.raises(InputError) as error:
        make_optimizer("adam", {"momentum": 0.9})
    assert error.value.on_command_line == (
        "--momentum does not go with --optimizer adam, which has --lr, --betas, --eps, --weight-decay"
    )


def test_the_command_line_gives_every_kind_of_field(cli: Any, tmp_path: Path, private_cache: Path) -> None:
    model = f"{networks.__file__}:factory"
    done = cli(
        "compile", model, "-o", tmp_path / "net", "--optimizer", "adam", "--betas", 0.5, 0.75, "--eps", 0.1
    )
    assert done.code == 0
    entry = json.loads((tmp_path / "net" / "manifest.json").read_text())["options"]["optimizer"]
    assert from_manifest(entry) == Adam(betas=(0.5, 0.75), eps=0.1)


# --- against PyTorch ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_are_those_of_torch(name: str) -> None:
    own = OPTIMIZERS[name]()
    twin = own.twin([nn.Parameter(torch.zeros(1))], own.lr)
    assert type(twin).__name__ == type(own).__name__
    for field, value in dataclasses.asdict(own).items():
        assert twin.defaults[field] == value
    theirs: Any = type(twin)
    defaults = theirs([nn.Parameter(torch.zeros(1))]).defaults
    same = {field: value for field, value in dataclasses.asdict(own).items() if field != "lr"}
    assert {field: defaults[field] for field in same} == same


@pytest.mark.parametrize("name", EVERY)
def test_states_are_the_twins_and_inputs_of_the_update(name: str) -> None:
    optimizer, parameter = EVERY[name], nn.Parameter(torch.ones(2))
    twin = optimizer.twin([parameter], optimizer.lr)
    parameter.grad = torch.ones(2)
    twin.step()
    kept = {key for key, value in twin.state[parameter].items() if value is not None and key != "step"}
    names = [state.name for state in optimizer.states]
    update = Update(optimizer)
    assert set(names) == kept and len(set(names)) == len(names)
    assert update.inputs[:3] == ("parameter", "gradient", "copy")
    assert [item for item in update.inputs[3:] if item in names] == names
    assert list(update.updated) == [item for item in update.inputs if item != "gradient"]


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "mixed"])
@pytest.mark.parametrize("name", EVERY)
def test_updates_are_the_twins(name: str, dtype: str, accumulate: bool) -> None:
    """On the host's exact build, from the compiled learning rate and from one that moves the weights visibly."""
    optimizer = EVERY[name]
    build = tiny_build(dtype=dtype, optimizer=optimizer, accumulate=accumulate)
    report = build.verify(build="exact", steps=3, accumulated=2)
    assert report.ok, report.worst
    seen = {row.tensor for row in report.rows if row.kind == "optimizer change"}
    assert seen == {
        f"{parameter}.{state.name}" for parameter in build.compiled.trainable for state in optimizer.states
    }
    moved = {row.tensor for row in report.rows if row.kind == "weight change"}
    assert moved == set(build.compiled.trainable)
