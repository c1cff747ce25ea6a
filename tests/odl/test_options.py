"""Options: what is taken, and the one line that refuses every other value."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import odl
from odl.errors import InputError
from odl.optimizers.sgd import SGD
from odl.option_kinds import parse_size
from odl.options import Options
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
        ("target", "mars", 'target="mars": must be one of host'),
        ("bn", "off", 'bn="off": must be one of fold, frozen, train'),
        ("loss", "hinge", 'loss="hinge": must be one of cross_entropy, mse'),
        ("cores", 0, "cores=0: must be between 1 and 16"),
        ("cores", 17, "cores=17: must be between 1 and 16"),
        ("memory", 0, "memory=0: must be a positive number"),
        ("memory", -1, "memory=-1: must be a positive number"),
        ("loss_scale", 0.5, "loss_scale=0.5: must be between 1 and 65536"),
        ("loss_scale", 1e6, "loss_scale=1000000.0: must be between 1 and 65536"),
        ("loss_scale", NAN, "loss_scale=nan: must be between 1 and 65536"),
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


def test_precisions() -> None:
    found = [Options.of({"dtype": name}).dtype for name in ("fp32", "fp16", "mixed")]
    assert found == list(Precision)
    with pytest.raises(InputError, match='dtype="bf16": must be one of fp32, fp16, mixed'):
        Options.of({"dtype": "bf16"})
    with pytest.raises(InputError, match='dtype="bf16"'):
        odl.compile(nn.Linear(2, 2), torch.zeros(1, 2), dtype="bf16")
