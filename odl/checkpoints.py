"""Weights as they are found in files: wrapped, prefixed, pickled whole. What fits without doubt is loaded, and said."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from odl.errors import InputError

State = Mapping[str, torch.Tensor]
#: What PyTorch's own wrappers put before every name: DataParallel, torch.compile, averaged models.
_WRAPPERS = ("module.", "_orig_mod.")


def load_weights(module: nn.Module, path: Path) -> str | None:
    """Load the file's weights into the module; what had to be unwrapped, in words, None for a plain state_dict.

    InputError, and nothing loaded, where it is not certain which tensor is which.
    """
    try:
        state, key = _state_of(read_checkpoint(path), path)
        state, prefix = _unwrapped(state, module.state_dict().keys())
        _check(module, state, path)
    except InputError as error:
        raise InputError(f"--weights {error.message}") from error
    module.load_state_dict(state, strict=False)
    said = [] if key is None else [f"its '{key}'"]
    said += [f"names without '{prefix}'"] if prefix else []
    return f"weights of {path}: took {', '.join(said)}" if said else None


def read_checkpoint(path: Path) -> Any:
    """What a file of PyTorch's holds, which may be no state_dict; InputError where it cannot be read without running it."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise InputError(f"{path}: {_unreadable(path, error)}") from error
    except Exception as error:
        raise InputError(f"{path}: not a state_dict that torch.save wrote") from error


def _unreadable(path: Path, error: Exception) -> str:
    if "TorchScript" in str(error):
        return (
            "a TorchScript archive; save its weights with "
            "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt') and give that file"
        )
    if zipfile.is_zipfile(path) and "global" in str(error):
        return (
            "holds a pickled object, which loading would run as a program; if you trust where it comes from, save "
            "its weights with torch.save(torch.load(FILE, weights_only=False).state_dict(), 'weights.pt'), and give "
            "that file"
        )
    return "not a state_dict that torch.save wrote"


def _state_of(loaded: Any, path: Path) -> tuple[State, str | None]:
    """The state_dict, and the key under which it lies where something is around it."""
    if is_state(loaded):
        return loaded, None
    inside = [key for key, item in loaded.items() if is_state(item)] if isinstance(loaded, Mapping) else []
    if len(inside) == 1:
        return loaded[inside[0]], str(inside[0])
    if not inside:
        raise InputError(f"{path}: holds a {type(loaded).__name__} without a state_dict")
    raise InputError(
        f"{path}: holds several state_dicts, {', '.join(map(repr, inside))}; save the one that is meant, as in "
        f"torch.save(torch.load(FILE)[{inside[0]!r}], 'weights.pt'), and give that file"
    )


def is_state(item: Any) -> bool:
    """Whether something is a state_dict: tensors by name, at least one."""
    return (
        isinstance(item, Mapping)
        and len(item) > 0
        and all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in item.items())
    )


def _unwrapped(state: State, own: Any) -> tuple[State, str]:
    """The state under the module's names, without what wrappers put before every one of them."""
    prefix = ""
    names = list(state)
    while not set(names) & set(own):
        first = names[0].partition(".")[0] + "."
        wrapper = next(
            (item for item in (*_WRAPPERS, first) if all(name.startswith(item) for name in names)), ""
        )
        if not wrapper:
            return state, ""
        prefix += wrapper
        names = [name.removeprefix(wrapper) for name in names]
    return {name.removeprefix(prefix): item for name, item in state.items()}, prefix


def _check(module: nn.Module, state: State, path: Path) -> None:
    """InputError unless every tensor has its place; batch norm's count of batches may be missing."""
    own = module.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in own]
    if missing or unknown:
        parts = [
            f"{_some(names)} {what}"
            for names, what in ((missing, "missing"), (unknown, "unknown to it"))
            if names
        ]
        raise InputError(
            f"{path}: does not fit the model: {'; '.join(parts)}; give the function that makes the model which "
            "was saved, or one that loads what it needs itself"
        )
    other = [name for name, tensor in own.items() if name in state and state[name].shape != tensor.shape]
    if other:
        shapes = f"{tuple(state[other[0]].shape)} in the file and {tuple(own[other[0]].shape)} in the model"
        raise InputError(
            f"{path}: '{other[0]}' has shape {shapes}; make the model with as many outputs as the file's, or "
            f"load all but {_some(other)} in the function that makes the model: state = torch.load(FILE); "
            f"model.load_state_dict({{k: v for k, v in state.items() if k not in {other!r}}}, strict=False)"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"'{name}'" for name in names[:3]) + more
