"""A labelled set of samples in memory, checked when it is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from odl.errors import InputError

SplitName = Literal["train", "validation", "test"]
"""Learn on "train", choose between settings on "validation", measure once on "test"."""
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)


@dataclass(frozen=True)
class Dataset:
    """Samples with one label each.

    `x` is float32 [N, C, H, W], finite; `y` is int64 [N], each an index into `classes`. `origin` is int64 [N]:
    samples of equal number were made from one original (a digit, a voice) and say less than independent ones;
    None: all are independent. The arrays are made read-only, so a data set can be shared. InputError names
    the data set and the first sample at fault.
    """

    name: str
    x: NDArray[np.float32]
    y: NDArray[np.int64]
    classes: tuple[str, ...]
    origin: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        for fault in _faults(self):
            raise InputError(f"data set '{self.name}': {fault}")
        for array in (self.x, self.y) if self.origin is None else (self.x, self.y, self.origin):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.y)

    def take(self, indices: NDArray[np.int64]) -> Dataset:
        """The samples at `indices`, in that order, as a data set of its own."""
        origin = None if self.origin is None else self.origin[indices]
        return Dataset(self.name, self.x[indices], self.y[indices], self.classes, origin)

    def split(self, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
        """Two disjoint parts that keep the share of every class; the first holds about `fraction` of each.

        The same data, fraction and seed give the same parts.
        """
        first, second = split_indices(self.y, fraction, seed)
        return self.take(first), self.take(second)


def split_indices(
    y: NDArray[np.int64], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stratified split of the indices of `y` [N]: sorted indices of the first part and of the rest."""
    if not 0.0 <= fraction <= 1.0:
        raise InputError(f"a data set is split by a fraction between 0 and 1, not by {fraction}")
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = generator.permutation(np.flatnonzero(y == label))
        chosen[members[: round(fraction * len(members))]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def _faults(data: Dataset) -> Iterator[str]:
    """What is wrong with a data set; what follows a fault may not be asked for."""
    x, y, origin = data.x, data.y, data.origin
    if x.dtype != np.float32 or x.ndim != 4:
        yield f"x must be float32 [N, C, H, W], not {x.dtype} {list(x.shape)}"
    if y.dtype != np.int64 or y.ndim != 1:
        yield f"y must be int64 [N], not {y.dtype} {list(y.shape)}"
    if len(x) != len(y):
        yield f"{len(x)} samples but {len(y)} labels"
    if origin is not None and (origin.dtype != np.int64 or origin.shape != y.shape):
        yield f"origin must be int64 [{len(y)}], not {origin.dtype} {list(origin.shape)}"
    if not data.classes:
        yield "no class names"
    for sample in np.flatnonzero(~np.isfinite(x).all(axis=(1, 2, 3))):
        yield f"sample {sample} holds a value that is not finite"
    for sample in np.flatnonzero((y < 0) | (y >= len(data.classes))):
        yield f"label {y[sample]} of sample {sample} is not one of 0..{len(data.classes) - 1}"
