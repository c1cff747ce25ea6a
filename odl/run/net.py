"""A network in a host library, behind the Python interface that every target has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from typing_extensions import override

from odl.errors import InputError, damaged, option
from odl.graph.ir import DType, Role, Value
from odl.graph.operator import Array
from odl.project.entry_point import LABEL, LOSS, OUTPUT, CType, EntryPoint, X
from odl.project.entry_points import NUMBERED, existing
from odl.project.layout import from_memory, to_memory
from odl.project.manifest import Manifest, TensorEntry, parse_document, read_document
from odl.project.state import struct_bytes
from odl.project.state_format import DIGEST_BYTES, stated_bytes
from odl.project.status import Status
from odl.run.arrays import CallArrays, storable
from odl.run.binding import open_library
from odl.run.learning import LearningCalls
from odl.run.library import ProjectBuild, build_library
from odl.run.state_dict import ModuleState

#: Names in Python of what a caller hands in, by role.
_ARGUMENTS = {Role.INPUT: "x", Role.TARGET: "y", Role.SAMPLE_WEIGHT: "weight"}


class Net(LearningCalls):
    """A loaded network with its own memory: train, infer, read and write its state.

    Arrays are PyTorch's shapes: x [N,C,H,W] (or one sample without N when the batch is 1); targets are class
    numbers [N], probabilities [N,classes], or for mse an array like the output. `manifest` is the project's
    manifest.json as it is, `project` the same as typed values.
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
        self.directory = directory
        self.manifest: dict[str, Any] = read_document(directory)
        library = build_library(directory, ProjectBuild.of(build))
        self.project: Manifest = parse_document(self.manifest, directory)
        self.input, self.output = self.project.input, self.project.output
        self._arrays = CallArrays(self.input, self.output, self.project.options.loss == "cross_entropy")
        self._tensors = {item.value.name: item for item in self.project.tensors}
        found = existing(self.project.options, self.project.program_names)
        self._entry_points = {item.name: item for item in found}
        #: What the latest call said of itself.
        self.status: Status = Status.OK
        self._state = ModuleState(self.project.counters, unused or {}, self._counted_batches)
        try:
            self._load(library)
        except (AttributeError, KeyError) as error:
            raise damaged(directory) from error

    def _load(self, library: Path) -> None:
        """Open the library and lay hold of its memories."""
        memory, arena = self.project.memory, self.project.arena
        self._ffi, self._host = open_library(
            library, self.project.prefix, self._entry_points.values(), "l1" in memory
        )
        self._lib: Any = self._host
        self._arena = self._ffi.buffer(self._lib.arena, memory[arena].peak_bytes)
        self._words = self._ffi.buffer(self._lib.state, struct_bytes(self.project.options))
        self._memories = {arena: self._arena}
        if "l1" in memory:
            self._memories["l1"] = self._ffi.buffer(self._lib.l1, memory["l1"].peak_bytes)
        self._lib.init()

    @property
    def persistent_bytes(self) -> int:
        """Bytes of the arena, from its beginning, that outlive a step."""
        return self.project.memory[self.project.arena].persistent_bytes

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
        """Forward, backward, update; the samples' losses times their weights, summed and divided by the batch.

        Fewer samples than the batch train with their own mean: the rest of the batch gets the weight 0, and theirs grow
        in proportion. A step that overflowed is skipped: `status` says so, and `skipped_steps` counts it. InputError for
        wrong shapes, labels or NaN.
        """
        return cast(float, self.call("train_step", x, y, weight))

    def accumulate(
        self, x: ArrayLike | torch.Tensor, y: ArrayLike | torch.Tensor, weight: ArrayLike | None = None
    ) -> float:
        """Forward and backward, adding the gradients up; needs a network compiled with accumulate."""
        return cast(float, self.call("accumulate", x, y, weight))

    def apply(self) -> None:
        """Update with the mean of the accumulated gradients; InputError where there are none."""
        self.call("apply")

    def infer(self, x: ArrayLike | torch.Tensor) -> Array:
        """Outputs for x [M, …], M any multiple of the batch; float32 [M, …]."""
        return self._outputs(self._entry_points["infer"], x)

    def _outputs(self, entry_point: EntryPoint, x: Any) -> Array:
        parts = [np.empty((0, *self.output.shape[1:]), dtype=np.float32)]
        parts += [cast(Array, self._call(entry_point, {X.name: batch})) for batch in self._arrays.batches(x)]
        return np.concatenate(parts)

    def head_add(self, x: ArrayLike | torch.Tensor, y: ArrayLike | torch.Tensor) -> None:
        """Add samples x [M, …] of classes y [M] to the analytic head's sums; InputError at the first that is refused."""
        self._count("head_add", x, y)

    def head_remove(self, x: ArrayLike | torch.Tensor, y: ArrayLike | torch.Tensor) -> None:
        """Take samples out of the analytic head's sums that were added before, as if they had never been seen."""
        self._count("head_remove", x, y)

    def _count(self, name: str, x: Any, y: Any) -> None:
        samples = self._arrays.samples(x)
        labels = np.atleast_1d(np.asarray(y.detach().cpu() if isinstance(y, torch.Tensor) else y))
        if len(labels) != len(samples):
            raise InputError(f"y has {len(labels)} labels; x has {len(samples)} samples")
        for sample, label in zip(samples, labels, strict=True):
            self.call(name, sample, label)

    def head_solve(self) -> None:
        """Compute the analytic head's weights; InputError where its sums do not give any."""
        self.call("head_solve")

    def head_infer(self, x: ArrayLike | torch.Tensor) -> Array:
        """The analytic head's scores for x [M, …]; float32 [M, classes]."""
        return self._outputs(self._entry_point("head_infer"), x)

    def head_reset(self) -> None:
        """Forget all samples of the analytic head, and its weights."""
        self._entry_point("head_solve")
        self._take(self._lib.head_reset())

    def call(self, name: str, x: Any = None, y: Any = None, weight: Any = None) -> float | Array | None:
        """Call an entry point by its name without the prefix, with one batch of what its C function takes.

        Returns the loss or the output where the function gives one. InputError where the project has no such entry point
        and for wrong shapes, labels or NaN.
        """
        entry_point = self._entry_point(name)
        taken = {parameter.role: parameter for parameter in entry_point.parameters if parameter.role}
        handed_in = {Role.INPUT: x, Role.TARGET: y, Role.SAMPLE_WEIGHT: weight}
        for role, value in handed_in.items():
            if value is not None and role not in taken:
                raise InputError(f"{name}() takes no {_ARGUMENTS[role]}")
            if value is None and role in taken and not taken[role].optional:
                raise InputError(f"{name}() needs {_ARGUMENTS[role]}")
        if Role.SAMPLE_WEIGHT in taken and self.project.options.bn != "train":
            x, y, weight = self._arrays.completed(x, y, weight)
            handed_in = {Role.INPUT: x, Role.TARGET: y, Role.SAMPLE_WEIGHT: weight}
        readers = self._arrays.readers
        if LABEL in entry_point.parameters:
            readers = {**readers, Role.TARGET: self._arrays.labels}
        given: dict[str, Array | float] = {
            taken[role].name: readers[role](value) for role, value in handed_in.items() if value is not None
        }
        return cast("float | Array | None", self._call(entry_point, given))

    @override
    def _entry_point(self, name: str) -> EntryPoint:
        callable_ones = {item.name: item for item in NUMBERED.values()}
        if name in callable_ones and name in self._entry_points:
            return self._entry_points[name]
        if name in callable_ones and callable_ones[name].needs is not None:
            needs = callable_ones[name].needs
            assert needs is not None
            raise InputError(f"{name}() needs a network compiled with {option(*needs)}")
        own = ", ".join(item for item in callable_ones if item in self._entry_points)
        raise InputError(f"the network has no entry point '{name}' to call; it has {own}")

    @override
    def _call(
        self, entry_point: EntryPoint, given: Mapping[str, Array | float]
    ) -> float | Array | bytes | int | None:
        """Call with arrays in memory order by their parameters' names; InputError where the C refuses them."""
        assert given.keys() <= {parameter.name for parameter in entry_point.parameters}, given.keys()
        arguments: list[Any] = []
        output, digest, count = None, None, None
        loss = self._ffi.new("float *", math.nan)
        for parameter in entry_point.parameters:
            value = given.get(parameter.name)
            if parameter is OUTPUT:
                output = self._ffi.new("float[]", self.output.count)
                arguments.append(output)
            elif parameter is LOSS:
                arguments.append(loss)
            elif parameter.type is CType.HASH_OUT:
                digest = self._ffi.new("uint8_t[]", DIGEST_BYTES)
                arguments.append(digest)
            elif parameter.type is CType.COUNT_OUT:
                count = self._ffi.new("uint32_t[]", 1)
                arguments.append(count)
            elif isinstance(value, int | float):
                arguments.append(value)
            else:
                arguments.append(self._ffi.NULL if value is None else self._numbers(value, parameter.type))
        self._take(getattr(self._lib, entry_point.name)(*arguments) or 0)
        if digest is not None:
            return bytes(self._ffi.buffer(digest))
        if count is not None:
            return int(count[0])
        if output is None:
            return float(loss[0]) if LOSS in entry_point.parameters else None
        return from_memory(replace(self.output, dtype=DType.F32), bytes(self._ffi.buffer(output)))

    def _take(self, number: int) -> None:
        """Note a call's status; InputError where the caller is at fault, or the update destroyed the weights."""
        self.status = Status.of(number)
        if self.status.raised:
            raise InputError(self.status.text)

    @override
    def _numbers(self, array: Array, kind: CType) -> Any:
        """An array as C takes it by a parameter of that type."""
        name, dtype = ("uint32_t[]", np.uint32) if kind is CType.COUNTS_IN else ("float[]", np.float32)
        return self._ffi.from_buffer(name, np.ascontiguousarray(array, dtype=dtype).reshape(-1))

    # --- settings and state --------------------------------------------------------------------------------

    def set_learning_rate(self, learning_rate: float) -> None:
        """The learning rate of the following updates."""
        if not 0 <= learning_rate < math.inf:
            raise InputError(f"learning rate {learning_rate}: must be a finite number, not below zero")
        self._take(self._lib.set_learning_rate(learning_rate))

    @property
    def loss_scale(self) -> float:
        """What the loss's gradient is multiplied with now."""
        return float(self._lib.loss_scale())

    @property
    def skipped_steps(self) -> int:
        """Steps that overflowed and changed no weight."""
        return int(self._lib.skipped_steps())

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Parameters and statistics, float32, with the names and shapes of the PyTorch module.

        A batch norm in training mode counts its batches, and what the model never uses is there unchanged where
        `build.load()` made the net, so that `module.load_state_dict` takes the result. A net made from a directory
        knows nothing of unused tensors: `module.load_state_dict(…, strict=False)` leaves them as they are.
        """
        return self._state.read(self)

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take parameters and statistics from a PyTorch state_dict; if one misfits, InputError and no change.

        What the model never uses may be missing. A log with steps in it is in the way: no step of it could be computed
        again.
        """
        if self.log_count:
            raise InputError(
                "weights cannot be loaded while the log has steps, which would not lead to them: call drop_log() until "
                "log_count is 0"
            )
        self._state.write(self, state)
        if "refresh" in self._entry_points:
            self._take(self._host.refresh())

    def _counted_batches(self) -> int:
        """Batches that batch norms in training mode have counted since the network was loaded."""
        return int(self._lib.steps()) if self.project.options.bn == "train" else 0

    def tensor(self, name: str) -> Array:
        """A persistent tensor (parameter, statistic, optimizer state) as it lies in memory now."""
        return self.result(self._tensors[name])

    def set_tensor(self, name: str, array: Array) -> None:
        """Overwrite a persistent tensor; InputError when the shape or a number does not fit."""
        item = self._tensors[name]
        data = to_memory(item.value, storable(item.value, array, self._tensors))
        self._arena[item.offset : item.offset + len(data)] = data

    def tensors(self) -> dict[str, Value]:
        """The persistent tensors."""
        return {name: item.value for name, item in self._tensors.items()}

    def read(self, value: Value, offset: int) -> Array:
        """The bytes at an address of the arena, as the value's array."""
        return from_memory(value, bytes(self._arena[offset : offset + value.size_bytes]))

    def result(self, entry: TensorEntry) -> Array:
        """A tensor at its place; what a kernel wrote is to be asked for when the kernel is done."""
        memory = self._memories[entry.memory]
        return from_memory(entry.value, bytes(memory[entry.offset : entry.offset + entry.value.size_bytes]))

    def save(self) -> bytes:
        """All training state but the learning rate, in the format of docs/state.md.

        InputError where a weight, a statistic or optimizer state is NaN or infinite.
        """
        buffer = self._ffi.new("uint8_t[]", self.project.state_bytes)
        self._check(self._host.save(buffer, len(buffer)))
        return bytes(self._ffi.buffer(buffer))

    def load(self, state: bytes) -> None:
        """Take all training state back, of this network or of the same one compiled otherwise; InputError says why not."""
        data = bytes(state)
        if len(data) > (said := stated_bytes(data)):
            raise InputError(f"the saved state has {len(data)} bytes, of which it says it has {said}")
        self._check(self._host.load(self._ffi.from_buffer(data), len(data)))

    def _check(self, status: int) -> None:
        if status != Status.OK:
            raise InputError(Status.of(status).text)

    @contextmanager
    def observed(self, callback: Callable[[int, int], None]) -> Iterator[None]:
        """Call back after every kernel with its program's and node's number, while the context lasts."""
        function = self._ffi.callback("void(uint32_t, uint32_t)", callback)
        self._host.observe(function)
        try:
            yield
        finally:
            self._host.observe(self._ffi.NULL)
