"""Pooled features of a network's last blocks, as int8.

A block's feature is the average of each of its output's channels over the map. The quantiser's scales are set once, on data
that the device is shipped with, and never move: statistics of quantised features are integers, so that taking a sample out
restores the very bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from odl.errors import InputError
from odl.learn.loops import one_thread
from odl.learn.trainer import Floats

Codes = NDArray[np.int8]


def blocks(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[str, ...]:
    """Paths of the parts whose outputs are maps [N, C, H, W] of several places, in order; sequences are taken apart."""
    found: list[str] = []

    def walk(parent: nn.Module, prefix: str) -> None:
        for name, child in parent.named_children():
            if isinstance(child, nn.Sequential):
                walk(child, f"{prefix}{name}.")
            elif not isinstance(child, nn.Identity):
                found.append(prefix + name)

    walk(module, "")
    maps = _maps(module, tuple(found), np.zeros((1, *input_shape), np.float32))
    return tuple(name for name, map_ in maps.items() if map_.dim() == 4 and map_.shape[2] * map_.shape[3] > 1)


def pooled(module: nn.Module, layers: tuple[str, ...], x: Floats, batch_size: int = 64) -> Floats:
    """Averages over the maps of `layers`, one layer behind the other: [N, features]."""
    parts = []
    for start in range(0, len(x), batch_size):
        maps = _maps(module, layers, x[start : start + batch_size])
        parts.append(np.concatenate([maps[name].mean(dim=(2, 3)).numpy() for name in layers], axis=1))
    return np.concatenate(parts)


def _maps(module: nn.Module, layers: tuple[str, ...], x: Floats) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> object:
        def hook(layer: nn.Module, inputs: object, output: torch.Tensor) -> None:
            found[name] = output

        return module.get_submodule(name).register_forward_hook(hook)

    handles = [keep(name) for name in layers]
    try:
        with one_thread(), torch.no_grad():
            module.eval()(torch.tensor(x))
    finally:
        for handle in handles:
            handle.remove()  # type: ignore[attr-defined]
    return {name: found[name] for name in layers if name in found}


@dataclass(frozen=True)
class Quantiser:
    """Symmetric int8, one scale for each feature [features]."""

    scale: Floats

    @classmethod
    def fit(cls, features: Floats) -> Quantiser:
        """Scales that give the largest magnitude of each feature the code 127; a feature that is always 0 has scale 1."""
        largest = np.abs(features).max(axis=0)
        return cls(np.where(largest > 0, largest / 127, 1).astype(np.float32))

    def __call__(self, features: Floats) -> Codes:
        """Codes of features [N, features], rounded to nearest, beyond ±127 cut off."""
        codes: Codes = np.clip(np.rint(features / self.scale), -127, 127).astype(np.int8)
        return codes


#: Samples whose products of codes a 32-bit sum holds for certain.
MOST_SAMPLES = (2**31 - 1) // 127**2


class Statistics:
    """Per class a count and a sum of codes, and one symmetric matrix of summed products: integers of 32 bits.

    Addition of integers has no order and no rounding, so adding a sample and removing it again gives the same bits.
    """

    def __init__(self, classes: int, features: int) -> None:
        self.counts = np.zeros(classes, np.int32)
        self.sums = np.zeros((classes, features), np.int32)
        self.gram = np.zeros((features, features), np.int32)

    @property
    def bytes(self) -> int:
        """Bytes on a device: counts, sums, and the matrix's lower half."""
        features = self.sums.shape[1]
        return 4 * (self.counts.size + self.sums.size + features * (features + 1) // 2)

    def add(self, codes: Codes, labels: NDArray[np.int64]) -> None:
        """Take in codes [N, features] of labels [N]; InputError where a sum might not fit in 32 bits."""
        if int(self.counts.sum()) + len(labels) > MOST_SAMPLES:
            raise InputError(f"32-bit statistics hold at most {MOST_SAMPLES:,} samples")
        self._change(codes, labels, 1)

    def remove(self, codes: Codes, labels: NDArray[np.int64]) -> None:
        """Take out samples that were taken in; InputError where a class has not so many."""
        if (np.bincount(labels, minlength=len(self.counts)) > self.counts).any():
            raise InputError("a class has fewer samples than are to be removed from it")
        self._change(codes, labels, -1)

    def _change(self, codes: Codes, labels: NDArray[np.int64], sign: int) -> None:
        wide = codes.astype(np.int32)
        np.add.at(self.counts, labels, np.int32(sign))
        np.add.at(self.sums, labels, sign * wide)
        self.gram += sign * (wide.T @ wide)
