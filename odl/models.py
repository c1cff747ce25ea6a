"""What MODEL on the command line can be: a zoo name, file.py:factory, or an ONNX file (not yet)."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from odl import zoo
from odl.errors import InputError, either, option


@dataclass(frozen=True)
class Model:
    """A module with what its compilation needs; `input_shape` has no batch axis, `spec` is what the user wrote."""

    spec: str
    name: str
    module: nn.Module
    input_shape: tuple[int, ...]
    loss: str

    def example(self, batch: int) -> torch.Tensor:
        """An input of the right shape, from a fixed seed; InputError when no memory can hold it."""
        generator = torch.Generator().manual_seed(0)
        try:
            return torch.randn(batch, *self.input_shape, generator=generator)
        except (MemoryError, OverflowError, RuntimeError, TypeError) as error:
            raise InputError(
                f"an input of shape {(batch, *self.input_shape)} is too large for this machine; "
                f"choose a smaller {option('batch')} or {option('input_shape')}"
            ) from error


def resolve(spec: str, input_shape: tuple[int, ...] | None = None, loss: str | None = None) -> Model:
    """The model that a command line names.

    A factory in a file returns an nn.Module, or a module and an example input with a batch axis. InputError says what
    is wrong with the file, the factory or the shape.
    """
    if spec.endswith(".onnx"):
        raise InputError(
            f"{spec}: reading ONNX is not supported yet; give the PyTorch module as file.py:factory"
        )
    if Path(spec).suffix in (".pt", ".pth"):
        raise InputError(
            f"{spec}: MODEL is the function that makes the model; give a state_dict beside it, as in odl compile "
            f"file.py:factory --weights {spec}, and load a whole saved module in such a function"
        )
    path, separator, factory = spec.rpartition(":")
    if not separator or not path.endswith(".py"):
        if Path(spec).suffix == ".py":
            raise InputError(f"{spec}: name the function that makes the model, as in {spec}:make_model")
        model = _from_zoo(spec)
        return Model(spec, spec, model.factory(), model.input_shape, loss or model.loss)
    made = _call_factory(Path(path), factory)
    module, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, nn.Module):
        raise InputError(f"{spec}: returned a {type(module).__name__}; it must return an nn.Module")
    check_weights(module)
    if example is not None and not isinstance(example, torch.Tensor):
        raise InputError(
            f"{spec}: returned a module and a {type(example).__name__}; the example input must be a tensor"
        )
    if input_shape is None and isinstance(example, torch.Tensor):
        input_shape = tuple(example.shape[1:])
    if input_shape is None:
        raise InputError(
            f"{spec}: the input's shape is not known; return (module, example_input) or give "
            f"{either('input_shape=(3, 32, 32)', '--input-shape 3x32x32')}"
        )
    return Model(spec, factory, module, input_shape, loss or "cross_entropy")


def check_weights(module: nn.Module) -> None:
    """InputError when the module's weights are not there to be copied."""
    if isinstance(module, torch.jit.ScriptModule):
        raise InputError("the model is a ScriptModule; give the nn.Module that it was made from")
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            raise InputError(
                f"the model's '{name}' belongs to a lazy layer and has no shape yet; "
                "run the model once on an example input first"
            )
        if tensor.is_meta:
            raise InputError(
                f"the model's '{name}' is on the meta device and has no values; load weights first"
            )


def _from_zoo(name: str) -> zoo.ZooModel:
    try:
        return zoo.get(name)
    except InputError as error:
        raise InputError(f"{error.message}; a model of your own is file.py:factory") from None


def _call_factory(path: Path, factory: str) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(f"odl_user_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
        function = getattr(module, factory, None)
        if not callable(function):
            offered = [
                name for name, item in vars(module).items() if callable(item) and not name.startswith("_")
            ]
            raise InputError(f"{path} has no function '{factory}'; it has {', '.join(offered) or 'none'}")
        with contextlib.redirect_stdout(sys.stderr):  # standard output may be a table or JSON
            return function()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        reason = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
        raise InputError(f"{path}:{factory} failed: {reason}{_line(error, path)}") from error
    finally:
        sys.path.pop(0)


def _line(error: BaseException, path: Path) -> str:
    """Where in the user's file the error came from, as far as its traceback says."""
    lines = [
        number
        for frame, number in traceback.walk_tb(error.__traceback__)
        if Path(frame.f_code.co_filename) == path.resolve()
    ]
    return f" (line {lines[-1]} of {path.name})" if lines else ""


def parse_shape(text: str) -> tuple[int, ...]:
    """(3, 32, 32) of '3x32x32'; InputError otherwise."""
    parts = text.lower().replace(",", "x").split("x")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"'{text}' is not a shape; write for example 3x32x32")
    return tuple(int(part) for part in parts)
