"""An option is one field: the command line, `odl.compile`, manifest.json and the errors all follow from `Options`."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
from hypothesis import given, settings
from hypothesis import strategies as st

import odl
from odl.cli.app import app
from odl.errors import InputError
from odl.optimizers import OPTIMIZERS
from odl.options import DEFAULTS, FACTS, Options
from odl.precision import Precision
from tests.networks import INPUT, tiny

pytestmark = pytest.mark.usefixtures("private_cache")

#: What an option is on the command line, where that is not its own name with dashes.
PARTS = {
    "optimizer": (
        "optimizer",
        *(item.name.replace("_", "-") for kind in OPTIMIZERS.values() for item in dataclasses.fields(kind)),
    )
}
#: Where a command differs from a compilation on purpose.
OVERRIDES = {
    ("compile", "loss"): None,  # the model's own
    ("compile", "learn"): "",  # the words of a command line are one text
    ("bench", "target"): "cv32e40p",  # the host counts nothing
    ("tune", "target"): "cv32e40p",
    ("verify", "target"): None,  # other targets than the project's, and only if asked for
    ("verify", "dtype"): None,
}


def parameters(command: str) -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    return {item.name: item for item in group.commands[command].params}


def refusal(name: str, value: object) -> InputError | None:
    try:
        Options.of({name: value() if isinstance(value, functools.partial) else value})
    except InputError as error:
        return error
    return None


def test_every_option_is_a_field_with_its_facts() -> None:
    assert [item.name for item in dataclasses.fields(Options)] == list(FACTS)
    assert all(facts.help for facts in FACTS.values())


@pytest.mark.parametrize("name", FACTS)
def test_every_field_is_on_the_help_page(cli: Any, name: str) -> None:
    page = cli("compile", "--help").out
    for part in PARTS.get(name, (name.replace("_", "-"),)):
        assert re.search(rf" --{part} ", page), part


def test_the_keywords_of_compile_are_the_fields() -> None:
    known = inspect.signature(odl.compile).parameters
    assert list(known) == ["model", "example_input", "name", "spec", "calibration", *FACTS]
    assert {name: known[name].default for name in FACTS} == dict(DEFAULTS)


def test_a_keyword_that_is_no_option_is_refused_with_the_nearest() -> None:
    for wrong, near in (
        ("acumulate", "accumulate"),
        ("batchnorm", "bn"),
        ("lossscale", "loss_scale"),
    ):
        with pytest.raises(InputError, match=f"there is no option '{wrong}'") as error:
            odl.compile(tiny(), None, **{wrong: 1})  # type: ignore[arg-type]
        assert near in str(error.value)


def test_the_manifest_holds_every_field_and_gives_the_options_back(tmp_path: Any) -> None:
    import torch

    chosen = {"dtype": "fp16", "cores": 2, "memory": "1M", "bn": "frozen", "optimizer": odl.Adam(0.5)}
    chosen |= {"learn": "importance", "prefix": "kws"}  # whose defaults are left out
    build = odl.compile(tiny(), torch.zeros(1, *INPUT), **chosen)
    entry = json.loads((build.save(tmp_path / "net") / "manifest.json").read_text())["options"]
    assert list(entry) == list(FACTS)
    assert Options.of(entry) == Options.of(chosen) == build.compiled.network.options
    assert Options.of(entry).memory == 1024**2 and Options.of(entry).dtype is Precision.FP16


def test_another_target_keeps_what_is_computed_and_nothing_of_where() -> None:
    options = Options(target="cv32e40p", cores=2, l1=65536, bn="train", accumulate=True, dtype=Precision.FP32)
    moved = options.on_target("qemu", "zfh")
    assert moved == Options(target="qemu", isa="zfh", bn="train", accumulate=True, dtype=Precision.FP32)


@pytest.mark.parametrize("command", ["compile", "bench", "tune", "verify"])
def test_a_default_is_the_same_in_every_command(command: str) -> None:
    for name, item in parameters(command).items():
        if name in FACTS and name != "optimizer":
            assert item.default == OVERRIDES.get((command, name), DEFAULTS[name]), name


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(FACTS)),
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text("abcdef0123:*.", max_size=8),
        st.binary(max_size=3),
        st.lists(st.integers(), max_size=2),
        st.builds(functools.partial, st.just(odl.SGD), lr=st.floats(), momentum=st.floats()),
        st.builds(functools.partial, st.just(odl.Adam), weight_decay=st.floats(), eps=st.floats()),
    ),
)
def test_no_message_for_python_has_dashes(name: str, value: Any) -> None:
    """Whatever is given to whichever field, it is taken or refused in one line that names the option in Python's words."""
    error = refusal(name, value)
    if error is not None:
        assert "--" not in str(error) and "\n" not in str(error)
        assert isinstance(value, functools.partial) or name in str(error)
        assert "betas" in str(error) or "--" in error.on_command_line


def test_no_message_has_the_dashes_written_out() -> None:
    """Outside the command line, what is raised names options by `odl.errors.option`, which knows both spellings."""
    root = Path(odl.__file__).parent
    names = {*FACTS, *PARTS["optimizer"], "batch", "input_shape", "build", "vlen"}
    dashed = re.compile(rf"--({'|'.join(name.replace('_', '-') for name in names)})\b")
    folders = [Path(folder) for folder, *_ in os.walk(root, followlinks=True)]
    for file in (file for folder in folders for file in folder.glob("*.py")):
        if file.relative_to(root).parts[0] in ("cli", "demo"):
            continue
        for raised in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Raise)):
            chosen = [
                text
                for node in ast.walk(raised)
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "either"
                for text in node.args[1:]
            ]
            for text in ast.walk(raised):
                if isinstance(text, ast.Constant) and isinstance(text.value, str) and text not in chosen:
                    assert not dashed.search(text.value), f"{file}:{text.lineno}"
