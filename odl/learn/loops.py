"""What happens before, on and beside the device: pretraining, adaptation, and its float32 reference.

A deployment here has two stages. A network is pretrained in PyTorch with batch norm on an easy domain; its
batch norm is folded; the device then adapts it to its own domain, one sample at a time, averaging the
gradients of a micro-batch before every update. `adapt` is that second stage, `adapt_pytorch` the same in
PyTorch float32.

Recipes are chosen on the validation splits of the data; nothing here looks at a test split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from odl.data.dataset import Dataset
from odl.errors import InputError
from odl.run.net import Net

Progress = Callable[[int, int, float], None]
"""Called as progress(done, total, loss) after every update."""


@dataclass(frozen=True)
class Recipe:
    """Settings of one network's two stages, chosen by accuracy on the validation split.

    `steps` counts single samples; an update follows every `micro_batch` of them. `learning_rate` is the peak.
    """

    learning_rate: float
    steps: int
    micro_batch: int
    momentum: float = 0.0
    pretrain_epochs: int = 6
    pretrain_learning_rate: float = 4e-3
    pretrain_batch_size: int = 32

    @property
    def updates(self) -> int:
        """Updates made by `steps` single samples; InputError unless they fill whole micro-batches."""
        if self.steps < 1 or self.micro_batch < 1 or self.steps % self.micro_batch:
            raise InputError(f"{self.steps} steps do not fill whole micro-batches of {self.micro_batch}")
        return self.steps // self.micro_batch


# Plain digits, then digits on photographs. With a rate of 0.01 and no momentum, runs whose first weights differ by
# one part in ten thousand end up to three points apart; momentum at a tenth of that rate keeps them together. With
# 4,800 steps two such runs in PyTorch still ended 0.9 points apart on the validation set, and C and PyTorch up to
# 0.8; with 14,400 steps C and PyTorch end within 0.4 (seeds 0 to 2), and three points higher.
RESNET8 = Recipe(learning_rate=0.001, steps=14_400, micro_batch=8, momentum=0.9)
# Clean keywords, then noisy ones. The rate is set by stability: at 0.02 single updates of two seeds in three threw
# the loss to nine and more, and fp16 rounding then moves where it ends; at 0.01 no loss rose above 2.
DSCNN = Recipe(learning_rate=0.01, steps=12_000, micro_batch=8)


def pretrain(
    module: nn.Module, train: Dataset, recipe: Recipe, seed: int, progress: Progress | None = None
) -> None:
    """Trains `module` in place: float32, batch norm in training mode, Adam with a one-cycle cosine rate.

    The same seed and data give the same weights. The module is left in evaluation mode.
    """
    generator, size, peak = (
        np.random.default_rng(seed),
        recipe.pretrain_batch_size,
        recipe.pretrain_learning_rate,
    )
    count = len(train) // size
    if count == 0:
        raise InputError(f"data set '{train.name}' has {len(train)} samples, fewer than one batch of {size}")
    orders = [generator.permutation(len(train)) for _ in range(recipe.pretrain_epochs)]
    batches = [order[batch * size : (batch + 1) * size] for order in orders for batch in range(count)]
    rates = [learning_rate(i, len(batches), peak, warm_up=0.1, decay=0.9) for i in range(len(batches))]
    _train(module, torch.optim.Adam(module.parameters(), lr=peak), train, batches, rates, progress)


def adapt_pytorch(
    module: nn.Module, train: Dataset, recipe: Recipe, seed: int, progress: Progress | None = None
) -> float:
    """Adapts a batch-norm-folded `module` in place with SGD in float32.

    Samples come in the order of `sample_order(len(train), steps, seed)`. The mean gradient of each
    `micro_batch` of them makes one update at `learning_rate(update, updates, peak)`. Without batch norm that
    equals accumulating the gradients of single samples, which is what the device does. Returns the mean loss
    of the last tenth.
    """
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules()):
        raise InputError("adaptation by single samples needs a network whose batch norm is folded")
    updates, peak = recipe.updates, recipe.learning_rate
    batches = np.split(sample_order(len(train), recipe.steps, seed), updates)
    rates = [learning_rate(update, updates, peak) for update in range(updates)]
    optimizer = torch.optim.SGD(module.parameters(), lr=peak, momentum=recipe.momentum)
    losses = _train(module, optimizer, train, batches, rates, progress)
    return float(np.mean(losses[-max(1, updates // 10) :]))


def adapt(net: Net, train: Dataset, recipe: Recipe, seed: int, progress: Progress | None = None) -> float:
    """Train on single samples, updating after every micro-batch of them.

    Order and learning rates are those of `adapt_pytorch`, so only the arithmetic differs. The
    network must be compiled with accumulate for batch 1. Returns the mean loss of the last tenth.
    """
    updates = recipe.updates
    losses: list[float] = []
    for update, chosen in enumerate(np.split(sample_order(len(train), recipe.steps, seed), updates)):
        net.set_learning_rate(learning_rate(update, updates, recipe.learning_rate))
        losses += [net.accumulate(train.x[index], train.y[index : index + 1]) for index in chosen]
        net.apply()
        if progress is not None:
            progress(update + 1, updates, losses[-1])
    return float(np.mean(losses[-max(1, recipe.steps // 10) :]))


def _train(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: Dataset,
    batches: Sequence[NDArray[np.int64]],
    rates: Sequence[float],
    progress: Progress | None,
) -> list[float]:
    """One update for each batch of indices, at its rate; the losses."""
    x, y = torch.tensor(train.x), torch.tensor(train.y)
    losses: list[float] = []
    module.train()
    with one_thread():
        for chosen, rate in zip(map(torch.from_numpy, batches), rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            loss = F.cross_entropy(module(x[chosen]), y[chosen])
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
            if progress is not None:
                progress(len(losses), len(batches), losses[-1])
    module.eval()
    return losses


def sample_order(count: int, steps: int, seed: int) -> NDArray[np.int64]:
    """Indices [steps] into `count` samples: one random permutation after another, the last one cut short."""
    if count < 1:
        raise InputError("there are no samples to learn from")
    generator = np.random.default_rng(seed)
    passes = -(-steps // count)
    permutations = [generator.permutation(count) for _ in range(passes)]
    return np.concatenate([np.empty(0, np.int64), *permutations])[:steps].astype(np.int64)


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


def correct(module: nn.Module, data: Dataset, batch_size: int = 100) -> NDArray[np.bool_]:
    """Per sample [N] whether `module` classifies it right in evaluation mode; a logit that is not finite is wrong."""
    module.eval()
    hits = []
    with torch.no_grad():
        for start in range(0, len(data), batch_size):
            logits = module(torch.tensor(data.x[start : start + batch_size]))
            hit = logits.argmax(1) == torch.tensor(data.y[start : start + batch_size])
            hits.append((hit & logits.isfinite().all(1)).numpy())
    return np.concatenate(hits)


def net_correct(net: Net, data: Dataset) -> NDArray[np.bool_]:
    """Per sample [N] whether the network classifies it right; an output that is not finite is wrong."""
    outputs = net.infer(data.x)
    return np.asarray((outputs.argmax(axis=1) == data.y) & np.isfinite(outputs).all(axis=1))


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs the body with one PyTorch thread: sums, and with them the weights, depend on that number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
