"""What callers hand in, as float32 arrays in the order of a network's memory; InputError where it does not fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from odl.errors import InputError
from odl.graph.ir import DType, Role, Value
from odl.graph.operator import Array


@dataclass(frozen=True)
class CallArrays:
    """The arrays of one call: x [N, …], targets (class numbers or an array like the output) and sample weights [N]."""

    input: Value
    output: Value
    classifies: bool

    @property
    def batch(self) -> int:
        """Samples in one call."""
        return self.input.shape[0]

    @property
    def readers(self) -> Mapping[Role, Callable[[Any], Array]]:
        """By the role of what a caller hands in: the function that checks and orders it."""
        return {Role.INPUT: self.one_batch, Role.TARGET: self.target, Role.SAMPLE_WEIGHT: self.weights}

    def samples(self, x: Any) -> Array:
        """Any number of samples, [M, …] in PyTorch's axis order; one sample may come without M."""
        array = finite(to_array(x, "x"), "x")
        if array.shape == self.input.shape[1:]:
            array = array[None]
        if array.shape[1:] != self.input.shape[1:]:
            expected = ", ".join(str(size) for size in self.input.shape[1:])
            raise InputError(f"x has shape {array.shape}, expected (N, {expected})")
        return array

    def completed(self, x: Any, y: Any, weight: Any) -> tuple[Any, Any, Any]:
        """A whole batch that trains as these samples do by themselves, where there are fewer; else what was given.

        A network sums weighted losses and divides by its batch. The first sample fills the batch up with the weight 0, and
        the others' weights grow in proportion.
        """
        samples = self.samples(x)
        count = len(samples)
        if not 0 < count < self.batch:
            return x, y, weight
        targets = np.asarray(y.detach().cpu() if isinstance(y, torch.Tensor) else y)
        if count == 1 and targets.shape in ((), self.output.shape[1:]):
            targets = targets[None]
        factors = (
            np.ones(count) if weight is None else np.atleast_1d(finite(to_array(weight, "weight"), "weight"))
        )
        for name, given in (("y", targets), ("weight", factors)):
            if len(given) != count:
                raise InputError(f"{name} has shape {given.shape}; x has {count} samples")
        order = [*range(count), *[0] * (self.batch - count)]
        filled = np.zeros(self.batch)
        filled[:count] = factors * self.batch / count
        return samples[order], targets[order], filled

    def one_batch(self, x: Any) -> Array:
        """The samples of one call, in memory order."""
        samples = self.samples(x)
        if len(samples) != self.batch:
            fewer = len(samples) < self.batch
            remedy = (
                ", which batch norm in training mode needs whole: leave the last ones out" if fewer else ""
            )
            raise InputError(
                f"x has {len(samples)} samples; the network was compiled for {self.batch} a step{remedy}"
            )
        return memory_order(samples, self.input)

    def batches(self, x: Any) -> list[Array]:
        """The samples of several calls, each in memory order."""
        samples = self.samples(x)
        if len(samples) % self.batch:
            raise InputError(f"x has {len(samples)} samples; the network takes multiples of {self.batch}")
        starts = range(0, len(samples), self.batch)
        return [memory_order(samples[start : start + self.batch], self.input) for start in starts]

    def target(self, y: Any) -> Array:
        """Class numbers as ones among zeros, or an array like the output; in memory order."""
        return memory_order(self._target(y), self.output)

    def _target(self, y: Any) -> Array:
        array = np.asarray(y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else y)
        if self.classifies and array.dtype.kind in "iu" and array.ndim < 2:
            return self._one_hot(np.atleast_1d(array))
        values = finite(to_array(array, "y"), "y")
        if values.shape == self.output.shape[1:]:
            values = values[None]
        if values.shape != self.output.shape:
            labels_too = f", or {self.batch} class numbers" if self.classifies else ""
            raise InputError(f"y has shape {values.shape}, expected {self.output.shape}{labels_too}")
        return values

    def labels(self, y: Any) -> Array:
        """Class numbers [N]."""
        array = np.atleast_1d(np.asarray(y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else y))
        if array.dtype.kind not in "iu":
            raise InputError(f"y holds {array.dtype}; labels are class numbers")
        self._check_labels(array)
        return array

    def _one_hot(self, labels: Array) -> Array:
        self._check_labels(labels)
        one_hot: Array = np.eye(self.output.shape[1], dtype=np.float32)[labels]
        return one_hot

    def _check_labels(self, labels: Array) -> None:
        classes = self.output.shape[1]
        if labels.shape != (self.batch,):
            raise InputError(f"y has {len(labels)} labels, expected {self.batch}")
        wrong = labels[(labels < 0) | (labels >= classes)]
        if wrong.size:
            raise InputError(f"y holds label {wrong[0]}; the network has classes 0 to {classes - 1}")

    def weights(self, weight: Any) -> Array:
        """A factor for each sample."""
        factors = np.atleast_1d(finite(to_array(weight, "weight"), "weight"))
        if factors.shape != (self.batch,):
            raise InputError(f"weight has shape {factors.shape}, expected {(self.batch,)}")
        return factors


def memory_order(array: Array, value: Value) -> Array:
    """The array with its axes as they lie in the value's memory."""
    return array.transpose(value.layout.permutation(array.ndim))


def to_array(x: Any, name: str) -> Array:
    """Anything array-like as float32; `name` is for the error."""
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu().numpy()
    try:
        return np.asarray(x, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is no array of numbers: {error}") from error


def finite(array: Array, name: str) -> Array:
    """The array, if it holds neither NaN nor infinity."""
    if not np.isfinite(array).all():
        where = np.argwhere(~np.isfinite(array))[0].tolist()
        raise InputError(f"{name} holds NaN or infinity at index {where}")
    return array


def storable(value: Value, array: Array, tensors: Collection[str]) -> Array:
    """The array if it can be stored as the value: its shape, finite, and not beyond the storage type.

    `tensors` are the names of the network's: a master weight must fit its working copy too.
    """
    if array.shape != value.shape:
        raise InputError(f"'{value.name}' has shape {array.shape}, expected {value.shape}")
    half = value.dtype is DType.F16 or f"{value.name}.copy" in tensors
    largest = float(np.finfo(np.float16).max) if half else math.inf
    beyond = np.abs(finite(array, f"'{value.name}'")) > largest
    if beyond.any():
        raise InputError(f"'{value.name}' holds {array[beyond][0]:g}; the largest fp16 number is {largest:g}")
    return array
