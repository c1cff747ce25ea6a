"""A network in a host library, behind the Python interface that every target has."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import torch
from numpy.typing import ArrayLike

from odl.errors import InputError, option
from odl.graph.ir import DType, Layout, Role, Value
from odl.graph.operator import Array
from odl.project.layout import from_memory, to_memory
from odl.project.manifest import read_manifest
from odl.run.library import ProjectBuild, build_library

_INTERFACE = """
void net_init(void);
void net_infer(const float *x, float *output);
float net_train_step(const float *x, const float *target, const float *sample_weight);
void net_set_learning_rate(float learning_rate);
float net_loss_scale(void);
uint32_t net_skipped_steps(void);
uint32_t net_steps(void);
void net_save(void *state);
int net_load(const void *state);
extern uint8_t net_arena[];
extern void (*net_observer)(uint32_t program, uint32_t node);
"""
_ACCUMULATE = """
float net_accumulate(const float *x, const float *target, const float *sample_weight);
void net_apply(void);
"""
_REFRESH = "void net_refresh(void);"


def value_from_manifest(entry: Mapping[str, Any]) -> Value:
    """The value that a manifest entry describes."""
    return Value(
        entry["name"],
        tuple(entry["shape"]),
        Role(entry["role"]),
        DType(entry["dtype"]),
        Layout(entry["layout"]),
        entry["source"],
    )


class Net:
    """A loaded network with its own memory: train, infer, read and write its state.

    Arrays are PyTorch's shapes: x [N,C,H,W] (or one sample without N when the batch is 1); targets are class
    numbers [N], probabilities [N,classes], or for mse an array like the output.
    """

    def __init__(
        self,
        directory: Path,
        build: str = ProjectBuild.EXACT,
        unused: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Load the project in `directory`, building its library if needed: `build` is "exact" or "fast".

        `unused` are the module's tensors that its forward pass never reads: the C has none of them, and `state_dict`
        gives them back as they came.
        """
        self._unused = {name: tensor.detach().cpu().clone() for name, tensor in (unused or {}).items()}
        self.directory = directory
        self.manifest: dict[str, Any] = read_manifest(directory)
        library = build_library(directory, ProjectBuild.of(build))
        try:
            self._load(library)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{directory} is damaged; compile it again with odl compile -o") from error

    def _load(self, library: Path) -> None:
        """Open the library and find every tensor that the manifest names."""
        self._ffi, self._lib = self._open(library)
        sizes = {memory: int(plan["peak_bytes"]) for memory, plan in self.manifest["memory"].items()}
        arena = self._arena_name
        self._arena = self._ffi.buffer(self._lib.net_arena, sizes[arena])
        self._memories = {arena: self._arena}
        if "l1" in sizes:
            self._memories["l1"] = self._ffi.buffer(self._lib.net_l1, sizes["l1"])
        self._tensors = {
            entry["name"]: (value_from_manifest(entry), int(entry["offset"]))
            for entry in self.manifest["tensors"]
        }
        self.input = value_from_manifest(self.manifest["input"])
        self.output = value_from_manifest(self.manifest["output"])
        self._counters = {str(entry["name"]): int(entry["value"]) for entry in self.manifest["counters"]}
        self._lib.net_init()

    def _open(self, library: Path) -> tuple[Any, Any]:
        """Open a private copy of the library, so that two nets never share an arena."""
        ffi = cffi.FFI()
        text = _INTERFACE
        if self.manifest["options"]["accumulate"]:
            text += _ACCUMULATE
        if any(program["name"] == "refresh" for program in self.manifest["programs"]):
            text += _REFRESH
        if "l1" in self.manifest["memory"]:
            text += "extern uint8_t net_l1[];"
        ffi.cdef(text)
        handle, name = tempfile.mkstemp(suffix=".so", prefix="odl-")
        os.close(handle)
        try:
            shutil.copyfile(library, name)
            return ffi, ffi.dlopen(name)
        except OSError as error:
            reason = str(error).partition("  Additionally")[0].replace(name, library.name).rstrip(".")
            raise InputError(f"{library}: {reason}; delete it, and it is built again") from error
        finally:
            os.unlink(name)

    @property
    def _arena_name(self) -> str:
        return "ram" if "ram" in self.manifest["memory"] else "l2"

    @property
    def persistent_bytes(self) -> int:
        """Bytes of the arena, from its beginning, that outlive a step."""
        return int(self.manifest["memory"][self._arena_name]["persistent_bytes"])

    def keep(self, folder: object) -> None:
        """Hold on to the temporary folder that the project lies in."""
        self._folder = folder

    @property
    def on_device(self) -> bool:
        """Whether calls run on the target rather than on this machine."""
        return False

    # --- training and inference ---------------------------------------------------------------------------

    @property
    def batch(self) -> int:
        """Samples in one call."""
        return self.input.shape[0]

    def train_step(
        self, x: ArrayLike | torch.Tensor, y: ArrayLike | torch.Tensor, weight: ArrayLike | None = None
    ) -> float:
        """Forward, backward, update; the mean loss. InputError for wrong shapes, labels or NaN."""
        return self._step(self._lib.net_train_step, x, y, weight)

    def accumulate(
        self, x: ArrayLike | torch.Tensor, y: ArrayLike | torch.Tensor, weight: ArrayLike | None = None
    ) -> float:
        """Forward and backward, adding the gradients up; needs a network compiled with accumulate."""
        self._need_accumulate("accumulate")
        return self._step(self._lib.net_accumulate, x, y, weight)

    def apply(self) -> None:
        """Update with the mean of the accumulated gradients."""
        self._need_accumulate("apply")
        self._lib.net_apply()

    def infer(self, x: ArrayLike | torch.Tensor) -> Array:
        """Outputs for x [M, …], M any multiple of the batch; float32 [M, …]."""
        samples = self._samples(x)
        if len(samples) % self.batch:
            raise InputError(f"x has {len(samples)} samples; the network takes multiples of {self.batch}")
        parts = [np.empty((0, *self.output.shape[1:]), dtype=np.float32)]
        buffer = self._ffi.new("float[]", self.output.count)
        for start in range(0, len(samples), self.batch):
            data = self._floats(self._memory_order(samples[start : start + self.batch], self.input))
            self._lib.net_infer(data, buffer)
            raw = bytes(self._ffi.buffer(buffer))
            parts.append(from_memory(_as_float(self.output), raw))
        return np.concatenate(parts)

    def _need_accumulate(self, call: str) -> None:
        if not self.manifest["options"]["accumulate"]:
            raise InputError(f"{call}() needs a network compiled with {option('accumulate', True)}")

    def _step(self, function: Any, x: Any, y: Any, weight: Any) -> float:
        samples = self._samples(x)
        if len(samples) != self.batch:
            raise InputError(
                f"x has {len(samples)} samples; the network was compiled for {self.batch} a step"
            )
        data = self._floats(self._memory_order(samples, self.input))
        target = self._floats(self._memory_order(self._target(y), self.output))
        weights = self._ffi.NULL
        if weight is not None:
            factors = np.atleast_1d(_finite(_array(weight, "weight"), "weight"))
            if factors.shape != (self.batch,):
                raise InputError(f"weight has shape {factors.shape}, expected {(self.batch,)}")
            weights = self._floats(factors)
        return float(function(data, target, weights))

    def _samples(self, x: Any) -> Array:
        array = _finite(_array(x, "x"), "x")
        if array.shape == self.input.shape[1:]:
            array = array[None]
        if array.shape[1:] != self.input.shape[1:]:
            expected = ", ".join(str(size) for size in self.input.shape[1:])
            raise InputError(f"x has shape {array.shape}, expected (N, {expected})")
        return array

    def _target(self, y: Any) -> Array:
        array = np.asarray(y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else y)
        classifies = self.manifest["options"]["loss"] == "cross_entropy"
        if classifies and array.dtype.kind in "iu" and array.ndim < 2:
            labels = np.atleast_1d(array)
            classes = self.output.shape[1]
            if labels.shape != (self.batch,):
                raise InputError(f"y has {len(labels)} labels, expected {self.batch}")
            wrong = labels[(labels < 0) | (labels >= classes)]
            if wrong.size:
                raise InputError(f"y holds label {wrong[0]}; the network has classes 0 to {classes - 1}")
            one_hot: Array = np.eye(classes, dtype=np.float32)[labels]
            return one_hot
        values = _finite(_array(array, "y"), "y")
        if values.shape == self.output.shape[1:]:
            values = values[None]
        if values.shape != self.output.shape:
            labels_too = f", or {self.batch} class numbers" if classifies else ""
            raise InputError(f"y has shape {values.shape}, expected {self.output.shape}{labels_too}")
        return values

    def _memory_order(self, array: Array, value: Value) -> Array:
        return array.transpose(value.layout.permutation(array.ndim))

    def _floats(self, array: Array) -> Any:
        contiguous = np.ascontiguousarray(array, dtype=np.float32)
        return self._ffi.from_buffer("float[]", contiguous.reshape(-1))

    # --- settings and state --------------------------------------------------------------------------------

    def set_learning_rate(self, learning_rate: float) -> None:
        """The learning rate of the following updates."""
        if not 0 <= learning_rate < math.inf:
            raise InputError(f"learning rate {learning_rate}: must be a finite number, not below zero")
        self._lib.net_set_learning_rate(learning_rate)

    @property
    def loss_scale(self) -> float:
        """What the loss's gradient is multiplied with now."""
        return float(self._lib.net_loss_scale())

    @property
    def skipped_steps(self) -> int:
        """Steps that overflowed and changed no weight."""
        return int(self._lib.net_skipped_steps())

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Parameters and statistics, float32, with the names and shapes of the PyTorch module.

        A batch norm in training mode counts its batches, and what the model never uses is there unchanged where
        `build.load()` made the net, so that `module.load_state_dict` takes the result. A net made from a directory
        knows nothing of unused tensors: `module.load_state_dict(…, strict=False)` leaves them as they are.
        """
        result = {
            name: torch.from_numpy(self.tensor(name).astype(np.float32))
            for name, (value, _) in self._tensors.items()
            if value.role.of_model
        }
        result |= {name: torch.tensor(start + self._counted(name)) for name, start in self._counters.items()}
        return {**result, **{name: tensor.clone() for name, tensor in self._unused.items()}}

    def _counted(self, counter: str) -> int:
        """What a batch norm's counter has counted since the network was loaded: nothing unless the norm trains."""
        trains = self.manifest["options"]["bn"] == "train"
        statistic = f"{counter.removesuffix('num_batches_tracked')}running_mean"
        return int(self._lib.net_steps()) if trains and statistic in self._tensors else 0

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take parameters and statistics from a PyTorch state_dict; if one misfits, InputError and no change.

        What the model never uses may be missing.
        """
        own = {name: value for name, (value, _) in self._tensors.items() if value.role.of_model}
        unread = self._counters.keys() | self._unused.keys()
        given = {name: item for name, item in state.items() if name not in unread}
        if set(given) != set(own):
            raise InputError(f"the state_dict does not fit: {_differences(set(own), set(given))}")
        arrays = {name: _stored(own[name], _array(item, name)) for name, item in given.items()}
        unused = {
            name: _like(self._unused[name], state[name], name) for name in self._unused.keys() & state.keys()
        }
        for name, array in arrays.items():
            self.set_tensor(name, array)
        self._unused |= unused
        for name in self._counters.keys() & state.keys():
            self._counters[name] = int(state[name]) - self._counted(name)
        if hasattr(self._lib, "net_refresh"):
            self._lib.net_refresh()

    def tensor(self, name: str) -> Array:
        """A persistent tensor (parameter, statistic, optimizer state) as it lies in memory now."""
        value, offset = self._tensors[name]
        return self.read(value, offset)

    def set_tensor(self, name: str, array: Array) -> None:
        """Overwrite a persistent tensor; InputError when the shape or a number does not fit."""
        value, offset = self._tensors[name]
        array = _stored(value, array)
        data = to_memory(value, array)
        self._arena[offset : offset + len(data)] = data

    def tensors(self) -> dict[str, Value]:
        """The persistent tensors."""
        return {name: value for name, (value, _) in self._tensors.items()}

    def read(self, value: Value, offset: int) -> Array:
        """The bytes at an address of the arena, as the value's array."""
        return from_memory(value, bytes(self._arena[offset : offset + value.size_bytes]))

    def result(self, entry: Mapping[str, Any]) -> Array:
        """What a kernel wrote, by its entry in the manifest; to be asked for when the kernel is done."""
        value, offset = value_from_manifest(entry), int(entry["offset"])
        memory = self._memories[entry["memory"]]
        return from_memory(value, bytes(memory[offset : offset + value.size_bytes]))

    def save(self) -> bytes:
        """All training state."""
        buffer = self._ffi.new("uint8_t[]", self.manifest["state_bytes"])
        self._lib.net_save(buffer)
        return bytes(self._ffi.buffer(buffer))

    def load(self, state: bytes) -> None:
        """Take all training state back; InputError when it is not this network's."""
        if len(state) != self.manifest["state_bytes"]:
            raise InputError(f"the state has {len(state)} bytes, expected {self.manifest['state_bytes']}")
        if self._lib.net_load(self._ffi.from_buffer(state)) != 0:
            raise InputError("the state belongs to another network")

    @contextmanager
    def observed(self, callback: Callable[[int, int], None]) -> Iterator[None]:
        """Call back after every kernel with its program's and node's number, while the context lasts."""
        function = self._ffi.callback("void(uint32_t, uint32_t)", callback)
        self._lib.net_observer = function
        try:
            yield
        finally:
            self._lib.net_observer = self._ffi.NULL


def _array(x: Any, name: str) -> Array:
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu().numpy()
    try:
        return np.asarray(x, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is no array of numbers: {error}") from error


def _finite(array: Array, name: str) -> Array:
    if not np.isfinite(array).all():
        where = np.argwhere(~np.isfinite(array))[0].tolist()
        raise InputError(f"{name} holds NaN or infinity at index {where}")
    return array


def _as_float(value: Value) -> Value:
    return Value(value.name, value.shape, value.role, DType.F32, value.layout)


def _stored(value: Value, array: Array) -> Array:
    """The array if it can be stored as the value: its shape, finite, and not beyond the storage type."""
    if array.shape != value.shape:
        raise InputError(f"'{value.name}' has shape {array.shape}, expected {value.shape}")
    largest = float(np.finfo(np.float16).max) if value.dtype is DType.F16 else math.inf
    beyond = np.abs(_finite(array, f"'{value.name}'")) > largest
    if beyond.any():
        raise InputError(f"'{value.name}' holds {array[beyond][0]:g}; the largest fp16 number is {largest:g}")
    return array


def _like(own: torch.Tensor, given: object, name: str) -> torch.Tensor:
    """A copy of a tensor that has the shape and gets the type of the module's own."""
    tensor = torch.as_tensor(given)
    if tensor.shape != own.shape:
        raise InputError(f"'{name}' has shape {tuple(tensor.shape)}, expected {tuple(own.shape)}")
    return tensor.detach().to("cpu", own.dtype, copy=True)


def _differences(own: set[str], given: set[str]) -> str:
    parts = []
    for title, names in (("missing", own - given), ("unexpected", given - own)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            parts.append(f"{title} {', '.join(sorted(names)[:3])}{more}")
    return "; ".join(parts)
