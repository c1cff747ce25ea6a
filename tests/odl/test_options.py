"""Options: what is taken, and the one line that refuses every other value."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import odl
from odl.errors import InputError
from odl.options import SGD, Adam, Options, make_optimizer, parse_precision, parse_size
from odl.precision import Precision

NAN, INF = float("nan"), float("inf")


def test_defaults_are_the_command_lines() -> None:
    options = Options()
    assert (options.bn, options.dtype, options.optimizer) == ("fold", Precision.MIXED, SGD(0.01, 0.0, 0.0))
    assert (options.target, options.update, options.loss) == ("host", "full", "cross_entropy")
    assert not options.accumulate and options.memory is None


@pytest.mark.parametrize(
    ("precision", "scale"), [(Precision.FP32, 1.0), (Precision.FP16, 128.0), (Precision.MIXED, 1024.0)]
)
def test_loss_scale_follows_the_precision_unless_given(precision: Precision, scale: float) -> None:
    assert Options(dtype=precision).initial_loss_scale == scale
    assert Options(dtype=precision, loss_scale=8.0).initial_loss_scale == 8.0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("target", "mars", "--target mars: must be one of host"),
        ("bn", "off", "--bn off: must be one of fold, frozen, train"),
        ("loss", "hinge", "--loss hinge: must be one of cross_entropy, mse"),
        ("cores", 0, "--cores 0: must be between 1 and 16"),
        ("cores", 17, "--cores 17: must be between 1 and 16"),
        ("memory", 0, "--memory 0: must be a positive number"),
        ("memory", -1, "--memory -1: must be a positive number"),
        ("loss_scale", 0.5, "--loss-scale 0.5: must be between 1 and 65536"),
        ("loss_scale", 1e6, "--loss-scale 1000000.0: must be between 1 and 65536"),
        ("loss_scale", NAN, "--loss-scale nan: must be between 1 and 65536"),
        ("optimizer", SGD(lr=0.0), "--lr 0.0: the learning rate must be positive and finite"),
        ("optimizer", SGD(lr=-1.0), "--lr -1.0: the learning rate must be positive"),
        ("optimizer", SGD(lr=NAN), "--lr nan: the learning rate must be positive"),
        ("optimizer", Adam(lr=INF), "--lr inf: the learning rate must be positive and finite"),
        ("optimizer", SGD(momentum=1.0), "--momentum 1.0: must be at least 0 and below 1"),
        ("optimizer", SGD(momentum=-0.1), "--momentum -0.1: must be at least 0 and below 1"),
        ("optimizer", SGD(momentum=NAN), "--momentum nan: must be at least 0 and below 1"),
        ("optimizer", SGD(weight_decay=-1.0), "--weight-decay -1.0: must be zero or positive"),
        ("optimizer", Adam(weight_decay=NAN), "--weight-decay nan: must be zero or positive"),
        ("optimizer", Adam(betas=(0.9, 1.0)), "Adam's betas (0.9, 1.0): must be at least 0 and below 1"),
        ("optimizer", Adam(betas=(NAN, 0.9)), "must be at least 0 and below 1"),
        ("optimizer", Adam(eps=0.0), "Adam's eps 0.0: must be positive"),
    ],
)
def test_values_that_cannot_be(field: str, value: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        Options(**{field: value})
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("65536", 65536),
        ("64K", 65536),
        ("64k", 65536),
        ("64KiB", 65536),
        ("64kb", 65536),
        (" 64 KB ", 65536),
        ("1.5M", 1572864),
        ("0.5K", 512),
        ("12B", 12),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "-1", "64 X", "64GB", "1,5M", "1e3", "64K 3", "nan", ".5K"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="is not a size; write for example 131072, 128K or"):
        parse_size(text)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("sgd", None, None, 0.0), SGD(0.01, 0.0, 0.0)),
        (("sgd", 0.1, 0.5, 1e-4), SGD(0.1, 0.5, 1e-4)),
        (("momentum", None, None, 0.0), SGD(0.01, 0.9, 0.0)),
        (("momentum", 0.2, 0.8, 0.0), SGD(0.2, 0.8, 0.0)),
        (("momentum", None, 0.0, 0.0), SGD(0.01, 0.0, 0.0)),
        (("adam", None, None, 0.0), Adam(0.001)),
        (("adam", 0.01, None, 1e-4), Adam(0.01, weight_decay=1e-4)),
    ],
)
def test_optimizers_of_the_command_line(arguments: tuple[Any, ...], expected: SGD | Adam) -> None:
    assert make_optimizer(*arguments) == expected


def test_optimizers_that_cannot_be() -> None:
    with pytest.raises(InputError, match="--optimizer lion: must be one of sgd, momentum, adam"):
        make_optimizer("lion", None, None, 0.0)
    with pytest.raises(InputError, match="--momentum goes with --optimizer momentum, not adam"):
        make_optimizer("adam", None, 0.9, 0.0)


def test_optimizers_are_those_of_torch() -> None:
    parameters = [nn.Parameter(torch.zeros(1))]
    for own, theirs in ((SGD(0.1), torch.optim.SGD(parameters, 0.1)), (Adam(), torch.optim.Adam(parameters))):
        for name in ("lr", "weight_decay", "momentum", "betas", "eps"):
            if hasattr(own, name):
                assert getattr(own, name) == theirs.defaults[name]


def test_precisions() -> None:
    assert [parse_precision(name) for name in ("fp32", "fp16", "mixed")] == list(Precision)
    with pytest.raises(InputError, match="--dtype bf16: must be one of fp32, fp16, mixed"):
        parse_precision("bf16")
    with pytest.raises(InputError, match="--dtype bf16"):
        odl.compile(nn.Linear(2, 2), torch.zeros(1, 2), dtype="bf16")
