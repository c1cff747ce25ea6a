"""What happens before and beside the device: pretraining, and the float32 reference of the adaptation.

A deployment here has two stages. A network is pretrained in PyTorch with batch norm on an easy domain; its
batch norm is folded; the device then adapts it to its own domain, one sample at a time, averaging the
gradients of a micro-batch before every update. `adapt_pytorch` is the second stage in PyTorch float32. The
device's loop uses the same `sample_order` and `learning_rate`, so only the arithmetic differs.

Recipes are chosen on the validation splits of the data; nothing here looks at a test split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from odl.data.dataset import Dataset
from odl.errors import InputError

Progress = Callable[[int, int, float], None]
"""Called as progress(done, total, loss) after every update."""


@dataclass(frozen=True)
class Recipe:
    """Settings of one network's two stages, chosen by accuracy on the validation split.

    `steps` counts single samples; an update follows every `micro_batch` of them. `learning_rate` is the peak.
    """

    pretrain_epochs: int
    pretrain_learning_rate: float
    pretrain_batch_size: int
    learning_rate: float
    steps: int
    micro_batch: int
    momentum: float = 0.0


# Plain digits, then digits on photographs. With a rate of 0.01 and no momentum, runs whose first weights differ by
# one part in ten thousand end up to three points apart; momentum at a tenth of that rate keeps them together. With
# 4,800 steps two such runs in PyTorch still ended 0.9 points apart on the validation set, and C and PyTorch up to
# 0.8; with 14,400 steps C and PyTorch end within 0.4 (seeds 0 to 2), and three points higher.
RESNET8 = Recipe(
    pretrain_epochs=6,
    pretrain_learning_rate=4e-3,
    pretrain_batch_size=32,
    learning_rate=0.001,
    steps=14_400,
    micro_batch=8,
    momentum=0.9,
)
# Clean keywords, then noisy ones. The rate is set by stability: at 0.02 single updates of two seeds in three threw
# the loss to nine and more, and fp16 rounding then moves where it ends; at 0.01 no loss rose above 2.
DSCNN = Recipe(
    pretrain_epochs=6,
    pretrain_learning_rate=4e-3,
    pretrain_batch_size=32,
    learning_rate=0.01,
    steps=12_000,
    micro_batch=8,
)


@dataclass(frozen=True)
class History:
    """Per epoch: mean training loss, and accuracy in 0..1 on the validation set (empty without one)."""

    loss: tuple[float, ...]
    accuracy: tuple[float, ...]


def pretrain(
    module: nn.Module,
    train: Dataset,
    validation: Dataset | None = None,
    *,
    epochs: int,
    lr: float,
    batch_size: int,
    seed: int,
    progress: Progress | None = None,
    threads: int = 1,
) -> History:
    """Trains `module` in place: float32, batch norm in training mode, Adam with a one-cycle cosine rate.

    The same seed, data and thread count give the same weights. The module is left in evaluation mode.
    """
    x, y = _tensors(train)
    generator = np.random.default_rng(seed)
    batches = len(train) // batch_size
    if batches == 0:
        raise InputError(
            f"data set '{train.name}' has {len(train)} samples, fewer than one batch of {batch_size}"
        )
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    losses: list[float] = []
    accuracies: list[float] = []
    with torch_threads(threads):
        for epoch in range(epochs):
            module.train()
            order = torch.from_numpy(generator.permutation(len(train)))
            total = 0.0
            for batch in range(batches):
                update = epoch * batches + batch
                chosen = order[batch * batch_size : (batch + 1) * batch_size]
                _set_rate(optimizer, learning_rate(update, epochs * batches, lr, warm_up=0.1, decay=0.9))
                loss = _update(module, optimizer, x[chosen], y[chosen])
                total += loss
                if progress is not None:
                    progress(update + 1, epochs * batches, loss)
            losses.append(total / batches)
            if validation is not None:
                accuracies.append(accuracy(module, validation))
        module.eval()
    return History(tuple(losses), tuple(accuracies))


def adapt_pytorch(
    module: nn.Module,
    train: Dataset,
    *,
    lr: float,
    steps: int,
    micro_batch: int,
    seed: int,
    momentum: float = 0.0,
    progress: Progress | None = None,
    threads: int = 1,
) -> float:
    """Adapts a batch-norm-folded `module` in place with SGD in float32.

    Samples come in the order of `sample_order(len(train), steps, seed)`. The mean gradient of each
    `micro_batch` of them makes one update at `learning_rate(update, updates, lr)`. Without batch norm that
    equals accumulating the gradients of single samples, which is what the device does. Returns the mean loss
    of the last tenth.
    """
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules()):
        raise InputError("adaptation by single samples needs a network whose batch norm is folded")
    x, y = _tensors(train)
    order = torch.from_numpy(sample_order(len(train), steps, seed))
    updates = update_count(steps, micro_batch)
    optimizer = torch.optim.SGD(module.parameters(), lr=lr, momentum=momentum)
    losses: list[float] = []
    module.train()
    with torch_threads(threads):
        for update in range(updates):
            chosen = order[update * micro_batch : (update + 1) * micro_batch]
            _set_rate(optimizer, learning_rate(update, updates, lr))
            losses.append(_update(module, optimizer, x[chosen], y[chosen]))
            if progress is not None:
                progress(update + 1, updates, losses[-1])
    module.eval()
    return float(np.mean(losses[-max(1, updates // 10) :]))


def sample_order(count: int, steps: int, seed: int) -> NDArray[np.int64]:
    """Indices [steps] into `count` samples: one random permutation after another, the last one cut short."""
    if count < 1:
        raise InputError("there are no samples to learn from")
    generator = np.random.default_rng(seed)
    passes = -(-steps // count)
    permutations = [generator.permutation(count) for _ in range(passes)]
    return np.concatenate([np.empty(0, np.int64), *permutations])[:steps].astype(np.int64)


def update_count(steps: int, micro_batch: int) -> int:
    """Updates made by `steps` single samples; InputError unless they fill whole micro-batches."""
    if steps < 1 or micro_batch < 1 or steps % micro_batch:
        raise InputError(f"{steps} steps do not fill whole micro-batches of {micro_batch}")
    return steps // micro_batch


def learning_rate(
    update: int, updates: int, peak: float, *, warm_up: float = 0.05, decay: float = 0.5
) -> float:
    """Rate of `update` in 0..updates-1: linear warm-up, constant, cosine decay over the last share `decay`.

    The decay reaches almost zero, so that the end does not depend on the noise of the last updates.
    """
    rising, falling = warm_up * updates, decay * updates
    if update + 1 < rising:
        return peak * (update + 1) / rising
    left = updates - update
    if left > falling:
        return peak
    return peak * 0.5 * (1.0 - float(np.cos(np.pi * left / (falling + 1.0))))


def accuracy(module: nn.Module, data: Dataset, batch_size: int = 100) -> float:
    """Share in 0..1 of samples classified right in evaluation mode; a logit that is not finite is wrong."""
    return float(correct(module, data, batch_size).mean())


def correct(module: nn.Module, data: Dataset, batch_size: int = 100) -> NDArray[np.bool_]:
    """Per sample [N] whether `module` classifies it right, as `accuracy` counts it."""
    x, y = _tensors(data)
    module.eval()
    hits = []
    with torch.no_grad():
        for start in range(0, len(data), batch_size):
            logits = module(x[start : start + batch_size])
            hit = logits.argmax(1) == y[start : start + batch_size]
            hits.append((hit & logits.isfinite().all(1)).numpy())
    return np.concatenate(hits)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Runs the body with `count` PyTorch threads; sums, and with them the weights, depend on that number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _update(module: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> float:
    optimizer.zero_grad()
    loss = F.cross_entropy(module(x), y)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _tensors(data: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(data.x), torch.tensor(data.y)
