"""Generated C as its reader finds it: a function for each layer, named after the layer, in a format that hides nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import odl
from odl import zoo
from odl.codegen.project import render_project
from odl.models import resolve
from tests.codegen.golden_texts import SOURCES, is_copied, project

WIDTH = 120
_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_LAYER = re.compile(
    r"^static void (\w+)\(uint32_t core, uint32_t cores(?:, bool counts)?\) \{\n(.*?)^\}", re.M | re.S
)


def zoo_project(name: str, **options: object) -> dict[str, str]:
    made = resolve(name)
    build = odl.compile(made.module, made.example(1), loss=made.loss, **options)  # type: ignore[arg-type]
    return render_project(build.compiled.network)


def written(files: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The C files that are made for a project, copies of odl's own excepted."""
    for path, text in files.items():
        if path.endswith((".c", ".h", ".cpp")) and not is_copied(path) and not path.endswith("_weights.c"):
            yield path, text


def faults(text: str) -> list[str]:
    """What is wrong with the format of a C file, in words."""
    code = _COMMENT.sub(lambda comment: re.sub(r"[^\n]", " ", comment[0]), text)
    lines = (
        line.rstrip() for line in code.splitlines() if "ODL_ASM_" not in line
    )  # operands of one instruction
    found = [f"long: {line}" for line in lines if len(line) > WIDTH and " " in line.strip()]
    if "\n\n\n" in text:
        found.append("two blank lines")
    for comment in _COMMENT.findall(text):
        first, *rest = comment.splitlines()
        starred = len(rest) > 1 and all(line.lstrip().startswith("*") for line in rest)
        if rest and rest[-1].strip() == "*/" and not starred:
            found.append(f"end of a comment alone: {first}")
    depth = 0
    for line in code.splitlines():
        plain = re.sub(r'"(?:[^"\\]|\\.)*"', "", line)
        if depth > 0 and plain[:1].strip():
            found.append(f"operand at column 0: {line}")
        if not line.startswith("#"):
            depth += plain.count("(") - plain.count(")")
    return found


@pytest.mark.parametrize("name", SOURCES)
def test_files_have_their_format(name: str) -> None:
    for path, text in written(project(name)):
        assert not faults(text), path


@pytest.mark.parametrize("name", list(zoo.MODELS))
def test_files_of_the_zoo_have_their_format(name: str) -> None:
    for options in ({"dtype": "mixed", "accumulate": True}, {"dtype": "fp16", "target": "cv32e40p"}):
        for path, text in written(zoo_project(name, **options)):
            assert not faults(text), (options, path)


@pytest.mark.parametrize(
    "text",
    ["a(b,\nc);\n", "/* words\n*/\n", "/* words\n   more\n*/\n", f"int {'a ' * 60};\n", "a;\n\n\nb;\n"],
)
def test_each_fault_is_found(text: str) -> None:
    assert faults(text)


@pytest.mark.parametrize("name", SOURCES)
def test_every_layer_has_a_function_that_its_program_calls_once(name: str) -> None:
    source = project(name)["net.c"]
    functions = {found[1]: found[2] for found in _LAYER.finditer(source)}
    runs = [body for function, body in functions.items() if function.startswith("run_")]
    layers = [function for function in functions if function.startswith("net_")]
    assert layers and len(runs) == len(set(runs))
    calls = re.findall(r"^    (net_\w+)\(core, cores(?:, counts)?\);$", "\n".join(runs), re.M)
    assert sorted(calls) == sorted(layers)
    for run in runs:  # no kernel is called between them
        assert not re.search(r"\bnet_\w+\(&", run)


def test_functions_are_named_after_the_layers() -> None:
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(1, 2, 3))
    model.add_module("_act", nn.ReLU6())
    model.add_module("block", nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 4), nn.Tanh()))
    model.block[3] = nn.SiLU()  # type: ignore[index]
    built = odl.compile(model, torch.zeros(1, 1, 8, 8), prefix="kws", dtype="fp32", loss="mse")
    source = render_project(built.compiled.network)["kws.c"]
    step = source.partition("static void run_step(")[2].partition("\n}")[0]
    assert re.findall(r"^    (kws_\w+)\(", step, re.M) == [
        "kws_stem_forward",
        "kws_block_0_forward",
        "kws_block_1_forward",
        "kws_block_2_forward",
        "kws_block_3_forward",
        "kws_mean_squared_error_forward",
        "kws_block_3_input_gradient",
        "kws_block_2_input_gradient",
        "kws_block_2_bias_gradient",
        "kws_block_1_input_gradient",
        "kws_block_0_input_gradient",
        "kws_act_input_gradient",
        "kws_stem_weight_gradient",
        "kws_stem_bias_gradient",
        "kws_block_2_weight_gradient",
        "kws_update_tensors",
    ]


def test_a_module_cannot_take_the_name_of_a_function_of_the_interface() -> None:
    model = nn.Sequential()
    model.add_module("infer", nn.Linear(4, 3))
    model.add_module("a_b", nn.Linear(3, 3))
    model.add_module("a", nn.Sequential())
    model.a.add_module("b", nn.Linear(3, 2))  # type: ignore[union-attr]
    built = odl.compile(model, torch.zeros(1, 4), prefix="net")
    names = re.findall(r"^static void (net_\w+)\(", render_project(built.compiled.network)["net.c"], re.M)
    assert len(names) == len(set(names)) and "net_infer_forward" in names
    built.load().train_step(torch.zeros(1, 4).numpy(), 1)
