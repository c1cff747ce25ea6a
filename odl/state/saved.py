"""A network's saved state with names: what `odl state` shows, pulls into PyTorch and pushes from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from odl.errors import InputError
from odl.graph.ir import DType, Layout, Value
from odl.graph.operator import Array
from odl.project.layout import NUMPY, from_memory, to_memory
from odl.project.manifest import Manifest
from odl.project.state import SavedTensor, saved_tensors, saved_words
from odl.project.state_format import DIFFERENCES, Meaning
from odl.run.arrays import storable
from odl.run.state_dict import ModuleState
from odl.state.blob import Blob, Record, find_slots, is_later


@dataclass(frozen=True)
class State:
    """A saved state of a project: tensors in PyTorch's shapes and the project's types, and words, each by its name.

    `tensors` has what the state has: parameters, statistics and optimizer state always, sums that wait where they were
    kept. `words` are floats and counters of the training.
    """

    manifest: Manifest
    tensors: Mapping[str, Array]
    words: Mapping[str, float | int]
    generation: int = 0

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Parameters and statistics, float32, with the names and shapes of the PyTorch module."""
        steps = int(self.words["steps"]) if self.manifest.options.bn == "train" else 0
        values = {item.value.name: item.value for item in _saved(self.manifest) if item.needed}
        return ModuleState(self.manifest.counters, {}, lambda: steps).read(_Tensors(values, self.tensors))

    @classmethod
    def from_state_dict(cls, manifest: Manifest, state: Mapping[str, torch.Tensor]) -> State:
        """A training that begins with these parameters and statistics; InputError where one misfits."""
        own = _Tensors({item.value.name: item.value for item in _saved(manifest) if item.needed})
        ModuleState(manifest.counters, {}, lambda: 0).write(own, state)
        words = {item.name: item.initial for item in saved_words(manifest.options)}
        return cls(manifest, own.arrays, words)

    def to_bytes(self) -> bytes:
        """The bytes that the network's load functions take, and a storage's slot."""
        records = [
            Record(item.id, item.value.dtype, to_memory(_in_order(item.value), self.tensors[item.value.name]))
            for item in _saved(self.manifest)
            if item.value.name in self.tensors
        ]
        words = {item.id: item.to_bits(self.words[item.name]) for item in saved_words(self.manifest.options)}
        return Blob(self.manifest.meaning, tuple(records), words, self.generation).to_bytes()


def read(data: bytes, manifest: Manifest) -> State:
    """The newest state in the bytes that the project can take; they are one state, or a dump of a storage's region.

    Numbers are converted to the project's types as its C does. InputError says why there is none.
    """
    slots = find_slots(data)
    newest: State | None = None
    refusals: list[str] = []
    for slot in slots:
        try:
            state = _named(slot.blob, manifest) if slot.blob else None
        except InputError as error:
            refusals.append(error.message)
            continue
        if state is not None and (newest is None or is_later(state.generation, newest.generation)):
            newest = state
    if newest is not None:
        return newest
    faults = [slot.fault for slot in slots if slot.fault]
    raise InputError((refusals + faults + ["no saved state: none begins there"])[0])


def difference(found: Meaning, wanted: Meaning) -> str | None:
    """What a state is of that is not of this meaning; None where it is."""
    parts = (text for part, text in DIFFERENCES.items() if getattr(found, part) != getattr(wanted, part))
    return next(parts, None)


class _Tensors:
    """Tensors that a state_dict is written into, as those of a running net are."""

    def __init__(self, values: Mapping[str, Value], arrays: Mapping[str, Array] | None = None) -> None:
        self._values = dict(values)
        self.arrays = {
            name: np.zeros(value.shape, NUMPY[value.dtype]) for name, value in values.items()
        } | dict(arrays or {})

    def tensors(self) -> Mapping[str, Value]:
        return self._values

    def tensor(self, name: str) -> Array:
        return self.arrays[name]

    def set_tensor(self, name: str, array: Array) -> None:
        value = self._values[name]
        self.arrays[name] = storable(value, array, self._values).astype(NUMPY[value.dtype])


def _saved(manifest: Manifest) -> tuple[SavedTensor, ...]:
    return saved_tensors((*(item.value for item in manifest.tensors), *manifest.waiting), manifest.options)


def _in_order(value: Value) -> Value:
    """The value as records have it: in PyTorch's order."""
    return replace(value, layout=Layout.FLAT)


def _named(blob: Blob, manifest: Manifest) -> State:
    """A state's content by name; InputError where the project cannot take it."""
    other = difference(blob.meaning, manifest.meaning)
    if other is not None:
        raise InputError(f"it is a state of {other} than the project's")
    records = {item.id: item for item in blob.records}
    tensors: dict[str, Array] = {}
    for item in _saved(manifest):
        record = records.get(item.id)
        if record is not None:
            tensors[item.value.name] = _converted(item, record)
        elif item.needed:
            raise InputError(f"it is a state of another network: it has no '{item.value.name}'")
    words = {
        item.name: item.from_bits(blob.words[item.id]) if item.id in blob.words else item.initial
        for item in saved_words(manifest.options)
    }
    if words["accumulated"] and not (
        manifest.waiting and all(item.name in tensors for item in manifest.waiting)
    ):
        raise InputError(
            "gradients wait in it for an update, which the project has no room for; apply them first"
        )
    return State(manifest, tensors, words, blob.generation)


def _converted(item: SavedTensor, record: Record) -> Array:
    """A record as an array in the value's type."""
    value, name = item.value, item.value.name
    floats = {DType.F32, DType.F16}
    if record.count != value.count or not (
        record.dtype is value.dtype or {record.dtype, value.dtype} <= floats
    ):
        raise InputError(f"it is a state of another network: '{name}' has other elements")
    array = from_memory(_in_order(replace(value, dtype=record.dtype)), record.data)
    if item.needed and not np.isfinite(array).all():
        raise InputError(f"'{name}' holds NaN or infinity")
    with np.errstate(over="ignore"):
        converted = array.astype(NUMPY[value.dtype])
    if (np.isfinite(array) & ~np.isfinite(converted)).any():
        raise InputError(
            f"'{name}' has a number beyond the range of {value.dtype}, in which the project keeps it"
        )
    return converted


__all__ = ["State", "difference", "read"]
