"""A small data set for tests."""

from __future__ import annotations

import numpy as np

from odl.data.dataset import Dataset


def small(count: int = 20, classes: int = 4) -> Dataset:
    x = np.random.default_rng(0).normal(size=(count, 1, 4, 4)).astype(np.float32)
    y = np.arange(count, dtype=np.int64) % classes
    return Dataset("small", x, y, tuple("abcdefgh"[:classes]))
