"""Where a network lies seen from the original: how far, and whether a wall stands between."""

from __future__ import annotations

import copy

import numpy as np
from torch import nn

from odl.data import Dataset
from odl.learn.method import losses
from odl.learn.trainer import Weights, load, outputs


def distance(weights: Weights, original: Weights) -> float:
    """Length of the difference over the original's length."""
    moved = sum(
        float(((weights[name] - own).astype(np.float64) ** 2).sum()) for name, own in original.items()
    )
    length = sum(float((own.astype(np.float64) ** 2).sum()) for own in original.values())
    return float(np.sqrt(moved / length))


def barrier(module: nn.Module, weights: Weights, original: Weights, data: Dataset, points: int = 9) -> float:
    """How far the mean loss on `data` rises on the straight line between two networks above the line between their losses.

    Frankle et al. 2020, "Linear Mode Connectivity", section 2. About 0: one valley, so that a step back to the original is
    downhill or level all the way; retrained networks stand behind a wall. `module` has the structure.
    """
    module = copy.deepcopy(module)
    found = []
    shares = np.linspace(0.0, 1.0, points)
    for share in shares:
        mixed = {
            name: np.asarray(own + share * (weights[name] - own), np.float32)
            for name, own in original.items()
        }
        load(module, mixed)
        found.append(float(losses(outputs(module, data.x), data.y).mean()))
    straight = (1 - shares) * found[0] + shares * found[-1]
    return float(np.max(np.array(found) - straight))
