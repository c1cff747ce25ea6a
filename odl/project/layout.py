"""Tensors as bytes: arrays in PyTorch's axis order from and to the order that they have in a project's memory."""

from __future__ import annotations

import numpy as np

from odl.graph.ir import DType, Value
from odl.graph.operator import Array

#: NumPy's name of each type.
NUMPY = {
    DType.F16: np.float16,
    DType.F32: np.float32,
    DType.U8: np.uint8,
    DType.I8: np.int8,
    DType.U32: np.uint32,
    DType.I32: np.int32,
}


def to_memory(value: Value, array: Array) -> bytes:
    """A PyTorch-layout array as the bytes that the value has in memory (little-endian)."""
    ordered = np.asarray(array).transpose(value.layout.permutation(len(value.shape)))
    return np.ascontiguousarray(ordered, dtype=np.dtype(NUMPY[value.dtype]).newbyteorder("<")).tobytes()


def from_memory(value: Value, data: bytes) -> Array:
    """The inverse of `to_memory`."""
    permutation = value.layout.permutation(len(value.shape))
    shape = [value.shape[axis] for axis in permutation]
    flat = np.frombuffer(data, dtype=np.dtype(NUMPY[value.dtype]).newbyteorder("<"), count=value.count)
    return flat.reshape(shape).transpose(np.argsort(permutation)).copy()
