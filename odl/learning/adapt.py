"""Adapting a compiled network to new data, sample by sample, as the device does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from odl.data.dataset import Dataset
from odl.learning.pretrain import Progress, learning_rate, sample_order, update_count
from odl.run.net import Net


def adapt(
    net: Net,
    train: Dataset,
    *,
    lr: float,
    steps: int,
    micro_batch: int,
    seed: int,
    progress: Progress | None = None,
) -> float:
    """Train on `steps` single samples, updating after every `micro_batch` of them.

    Order and learning rates are those of `odl.learning.pretrain.adapt_pytorch`, so only the arithmetic differs. The
    network must be compiled with accumulate for batch 1. Returns the mean loss of the last tenth.
    """
    order = sample_order(len(train), steps, seed)
    updates = update_count(steps, micro_batch)
    losses: list[float] = []
    for update in range(updates):
        net.set_learning_rate(learning_rate(update, updates, lr))
        chosen = order[update * micro_batch : (update + 1) * micro_batch]
        losses += [net.accumulate(train.x[index], train.y[index : index + 1]) for index in chosen]
        net.apply()
        if progress is not None:
            progress(update + 1, updates, losses[-1])
    return float(np.mean(losses[-max(1, steps // 10) :]))


def net_accuracy(net: Net, data: Dataset) -> float:
    """Share in 0..1 of samples that the network classifies right; an output that is not finite is wrong."""
    return float(net_correct(net, data).mean())


def net_correct(net: Net, data: Dataset) -> NDArray[np.bool_]:
    """Per sample [N] whether the network classifies it right, as `net_accuracy` counts it."""
    outputs = net.infer(data.x)
    return np.asarray((outputs.argmax(axis=1) == data.y) & np.isfinite(outputs).all(axis=1))
