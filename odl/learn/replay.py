"""A buffer of samples for replay, as a device keeps them: bounded, int8, with a rule for what has to go."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from odl.errors import InputError
from odl.learn.trainer import Floats


class Eviction(StrEnum):
    """Which sample makes room in a full buffer.

    RESERVOIR keeps each sample seen with equal probability (Vitter 1985, algorithm R). BALANCED takes one of the class
    that has the most (Chrysakis and Moens 2020, "Online Continual Learning from Imbalanced Data", algorithm 1).
    """

    RESERVOIR = "reservoir"
    BALANCED = "balanced"


class Buffer:
    """At most `capacity` samples, stored as int8 with one scale for all."""

    def __init__(
        self,
        capacity: int,
        shape: tuple[int, ...],
        scale: float,
        eviction: Eviction,
        generator: np.random.Generator,
    ) -> None:
        if capacity < 1:
            raise InputError(f"a replay buffer holds at least 1 sample, not {capacity}")
        self._scale, self._eviction, self._generator = scale, eviction, generator
        self._codes = np.zeros((capacity, *shape), np.int8)
        self._labels = np.zeros(capacity, np.int64)
        self._held, self._seen = 0, 0
        self._seen_of: dict[int, int] = {}

    def __len__(self) -> int:
        return self._held

    @property
    def bytes(self) -> int:
        """Bytes of codes and labels (one each) of the whole buffer, and its scale."""
        return self._codes.nbytes + len(self._codes) + 4

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of what is held."""
        return self._labels[: self._held].copy()

    def add(self, x: Floats, y: NDArray[np.int64]) -> None:
        """Offer samples x [N, …] of labels [N], one after the other."""
        for sample, label in zip(x, y, strict=True):
            self._seen += 1
            self._seen_of[int(label)] = self._seen_of.get(int(label), 0) + 1
            slot = self._slot(int(label))
            if slot is not None:
                self._codes[slot] = np.clip(np.rint(sample / self._scale), -127, 127)
                self._labels[slot] = label
                self._held = max(self._held, slot + 1)

    def draw(self, count: int) -> tuple[Floats, NDArray[np.int64]]:
        """`count` different samples, or all where there are fewer."""
        chosen = self._generator.permutation(self._held)[:count]
        return self._codes[chosen].astype(np.float32) * np.float32(self._scale), self._labels[chosen]

    def _slot(self, label: int) -> int | None:
        """Where a sample of that label is written; None where it is not kept."""
        if self._held < len(self._codes):
            return self._held
        if self._eviction is Eviction.RESERVOIR:
            slot = int(self._generator.integers(self._seen))
            return slot if slot < self._held else None
        counts = np.bincount(self._labels, minlength=label + 1)
        if counts[label] < counts.max():
            largest = self._generator.choice(np.flatnonzero(counts == counts.max()))
            return int(self._generator.choice(np.flatnonzero(self._labels == largest)))
        if self._generator.random() < counts[label] / self._seen_of[label]:
            return int(self._generator.choice(np.flatnonzero(self._labels == label)))
        return None
