"""What MODEL can be: zoo names, factories in files, and every way in which they can be wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from odl import zoo
from odl.errors import InputError
from odl.models import parse_shape, resolve

SOURCE = '''
"""A user's models."""
import torch
from torch import nn
from beside import SIZE


def module():
    return nn.Linear(SIZE, 2)


def with_example():
    return nn.Conv2d(3, 2, 1), torch.zeros(5, 3, 8, 6)


def text():
    return "a model"


def three():
    return nn.ReLU(), torch.zeros(1, 2), 3


def nothing():
    pass


def raises():
    raise KeyError("no\\nweights")


def leaves():
    raise SystemExit(4)


def wants(size):
    return nn.Linear(size, 2)


number = 3
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("SIZE = 4\n")
    path = tmp_path / "nets.py"
    path.write_text(SOURCE)
    return path


def refusal(spec: str) -> str:
    with pytest.raises(InputError) as caught:
        resolve(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", zoo.MODELS)
def test_zoo_models(name: str) -> None:
    model = resolve(name)
    known = zoo.get(name)
    assert (model.spec, model.name, model.input_shape, model.loss) == (
        name,
        name,
        known.input_shape,
        known.loss,
    )
    assert resolve(name, loss="mse").loss == "mse"
    assert model.example(3).shape == (3, *known.input_shape)
    assert torch.equal(model.example(2), model.example(2))


def test_unknown_names_list_what_there_is() -> None:
    assert "resnet8, dscnn, autoencoder, mobilenetv1" in refusal("resnet9")
    assert "resnet8" in refusal("resnet8:make")


def test_a_module_needs_its_inputs_shape(file: Path) -> None:
    model = resolve(f"{file}:module", input_shape=(4,))
    assert isinstance(model.module, nn.Linear) and model.name == "module" and model.spec == f"{file}:module"
    assert (model.input_shape, model.loss) == ((4,), "cross_entropy")
    assert "input's shape is not known; return (module, example_input) or give input_shape=" in refusal(
        f"{file}:module"
    )


def test_a_module_with_an_example(file: Path) -> None:
    model = resolve(f"{file}:with_example", loss="mse")
    assert (model.input_shape, model.loss) == ((3, 8, 6), "mse")
    assert model.example(2).shape == (2, 3, 8, 6)
    assert resolve(f"{file}:with_example", input_shape=(3, 2, 2)).input_shape == (3, 2, 2)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("text", "returned a str; it must return an nn.Module"),
        ("three", "returned a tuple; it must return an nn.Module"),
        ("nothing", "returned a NoneType; it must return an nn.Module"),
        ("raises", "nets.py:raises failed: KeyError: 'no\\nweights'"),
        ("leaves", "nets.py:leaves failed: SystemExit: 4"),
        ("wants", "nets.py:wants failed: TypeError: wants() missing 1 required positional argument"),
        ("absent", "nets.py has no function 'absent'; it has module, with_example, text, three"),
        ("number", "nets.py has no function 'number'"),
        ("", "nets.py has no function ''"),
    ],
)
def test_factories_that_are_wrong(file: Path, factory: str, message: str) -> None:
    assert message in refusal(f"{file}:{factory}")


def test_files_that_are_wrong(file: Path) -> None:
    assert refusal(str(file)) == f"{file}: name the function that makes the model, as in {file}:make_model"
    missing = file.parent / "absent.py"
    assert refusal(f"{missing}:make") == f"{missing}: no such file"
    assert refusal(f"{file.parent}/sub.py:make").endswith("no such file")
    broken = file.parent / "broken.py"
    broken.write_text("def make(:\n")
    assert "broken.py:make failed: SyntaxError" in refusal(f"{broken}:make")
    broken.write_text("import no_such_package\n")
    assert "broken.py:make failed: ModuleNotFoundError: No module named 'no_such_package'" in refusal(
        f"{broken}:make"
    )


def test_resolving_leaves_the_search_path_alone(file: Path) -> None:
    before = list(sys.path)
    resolve(f"{file}:with_example")
    refusal(f"{file}:raises")
    assert sys.path == before


def test_onnx_says_what_to_do_instead() -> None:
    assert "reading ONNX is not supported yet; give the PyTorch module as file.py:factory" in refusal(
        "net.onnx"
    )


@pytest.mark.parametrize(
    ("text", "shape"),
    [("3x32x32", (3, 32, 32)), ("640", (640,)), ("1X49X10", (1, 49, 10)), ("3, 8, 8", (3, 8, 8))],
)
def test_shapes(text: str, shape: tuple[int, ...]) -> None:
    assert parse_shape(text) == shape


@pytest.mark.parametrize("text", ["", "x", "3x", "3x-1", "3x0", "axb", "3.5x2", "3x²", "3*3"])
def test_what_is_no_shape(text: str) -> None:
    with pytest.raises(InputError, match="is not a shape; write for example 3x32x32"):
        parse_shape(text)
