"""Messages that name options: in Python's words for a Python caller, with dashes on the command line."""

import pickle

import pytest

from odl.errors import InputError, either, option
from odl.precision import Precision


@pytest.mark.parametrize(
    ("part", "python", "typed"),
    [
        (option("bn"), "bn", "--bn"),
        (option("bn", "fold"), 'bn="fold"', "--bn fold"),
        (option("bn", "fold", "frozen"), 'bn="fold" or "frozen"', "--bn fold or frozen"),
        (option("loss_scale", 0.5), "loss_scale=0.5", "--loss-scale 0.5"),
        (option("loss_scale", 1.0), "loss_scale=1.0", "--loss-scale 1.0"),
        (option("cores", 1), "cores=1", "--cores 1"),
        (option("accumulate", True), "accumulate=True", "--accumulate"),
        (option("dtype", Precision.FP16), 'dtype="fp16"', "--dtype fp16"),
        (option("isa", None), "isa", "--isa"),
        (either("a batch of 2", "--batch 2"), "a batch of 2", "--batch 2"),
    ],
)
def test_each_reader_has_a_spelling(part, python, typed):
    error = InputError(f"use {part}; or {part}")
    assert str(error) == f"use {python}; or {python}"
    assert error.on_command_line == f"use {typed}; or {typed}"


def test_a_message_inside_another_keeps_both_spellings():
    inner = pickle.loads(pickle.dumps(InputError(f"no {option('bn', 'off')}")))
    outer = InputError(f"net: {inner.message}")
    assert str(outer) == 'net: no bn="off"' and outer.on_command_line == "net: no --bn off"
