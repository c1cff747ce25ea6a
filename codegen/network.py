"""What the C project is made from: the schedule, the initial tensors, and what comments and headers state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from odl.graph.ir import DType, Value
from odl.operators.base import Array
from odl.options import Options
from odl.plan.program import Schedule


@dataclass(frozen=True)
class Network:
    """A planned network; `initial` gives parameters and statistics by value name, in PyTorch's layout."""

    name: str
    options: Options
    schedule: Schedule
    initial: Mapping[str, Array]
    input_value: Value
    output_value: Value
    deferred: bool
    spec: str | None = None

    @property
    def batch(self) -> int:
        """Samples in one call."""
        return self.input_value.shape[0]


_NUMPY = {DType.F16: np.float16, DType.F32: np.float32, DType.U8: np.uint8}


def to_memory(value: Value, array: Array) -> bytes:
    """A PyTorch-layout array as the bytes that the value has in memory (little-endian)."""
    ordered = np.asarray(array).transpose(value.layout.permutation(len(value.shape)))
    return np.ascontiguousarray(ordered, dtype=np.dtype(_NUMPY[value.dtype]).newbyteorder("<")).tobytes()


def from_memory(value: Value, data: bytes) -> Array:
    """The inverse of `to_memory`."""
    permutation = value.layout.permutation(len(value.shape))
    shape = [value.shape[axis] for axis in permutation]
    flat = np.frombuffer(data, dtype=np.dtype(_NUMPY[value.dtype]).newbyteorder("<"), count=value.count)
    return flat.reshape(shape).transpose(np.argsort(permutation)).copy()
