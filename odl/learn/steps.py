"""Pieces that several methods share: micro-batches of both kinds, and arithmetic on weights by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from odl.data import Dataset
from odl.learn.task import ForgettingTask, MicroBatch, drawn
from odl.learn.trainer import Floats, Trainer, Weights


def paired(
    task: ForgettingTask, size: int, updates: int, generator: np.random.Generator
) -> Iterator[tuple[MicroBatch, MicroBatch]]:
    """`updates` micro-batches of forgotten samples, each with one of retained samples."""
    forget = drawn(task.forget, min(size, len(task.forget)), updates, generator)
    yield from zip(forget, drawn(task.retained, size, updates, generator), strict=True)


def train_both(
    trainer: Trainer,
    forget: tuple[Floats, NDArray[np.int64], NDArray[np.floating]],
    retain: tuple[Floats, NDArray[np.int64], NDArray[np.floating]],
) -> None:
    """One update by (x, y, factors) of forgotten and of retained samples together."""
    x, y = np.concatenate([forget[0], retain[0]]), np.concatenate([forget[1], retain[1]])
    trainer.train(x, y, np.concatenate([forget[2], retain[2]]))


def in_parts(trainer: Trainer, data: Dataset, size: int = 32) -> dict[str, Floats]:
    """The sum over a data set of the gradient of the loss."""
    total = {name: np.zeros_like(own) for name, own in trainer.weights().items()}
    for start in range(0, len(data), size):
        x, y = data.x[start : start + size], data.y[start : start + size]
        for name, part in trainer.gradient(x, y).items():
            total[name] += len(x) * part
    return total


def dot(a: Weights, b: Weights) -> float:
    """Inner product of all parameters, in float64."""
    return sum(float((own.astype(np.float64) * b[name]).sum()) for name, own in a.items())


def moved(weights: Weights, by: Mapping[str, Floats], factor: float) -> dict[str, Floats]:
    """weights + factor · by."""
    return {
        name: np.asarray(own + np.float32(factor) * by[name], np.float32) for name, own in weights.items()
    }
