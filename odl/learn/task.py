"""What a scenario prepares for one seed: the data, and the networks that were pretrained on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from odl.data import Dataset, SplitName
from odl.learn.loops import Recipe
from odl.learn.network import Network, Size
from odl.learn.trainer import Floats

#: Called as progress(stage, done, total) while something takes its time.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Stage:
    """One experience of a continual task: what arrives, in its order, and what it is judged by."""

    name: str
    train: Dataset
    test: Dataset


@dataclass(frozen=True)
class ContinualTask:
    """A network that was pretrained on the first stage meets the others, each sample once.

    `module` is folded and has outputs for all classes. A method may use the first stage's training data as what was
    stored before deployment, within the bytes that it reports.
    """

    network: Network
    module: nn.Module
    stages: tuple[Stage, ...]

    @property
    def classes(self) -> int:
        """Outputs of the network."""
        return len(self.stages[0].train.classes)

    @property
    def size(self) -> Size:
        """What the network costs."""
        return Size.of(self.module, self.network)

    @property
    def sample_bytes(self) -> int:
        """Bytes of a stored sample: int8 and a label."""
        return int(np.prod(self.network.input_shape)) + 1


@dataclass(frozen=True)
class ForgettingTask:
    """A network learned `train`; `forget` must go. A network that never saw it is trained on `reference`.

    `retained` is what a device still has of the other samples; `test` are unseen samples of what shall stay known. Each
    data set of `others` is one more figure: the share of it that is classified as it is labelled.
    """

    network: Network
    recipe: Recipe
    train: Dataset
    reference: Dataset
    forget: Dataset
    retained: Dataset
    test: Dataset
    others: Mapping[str, Dataset] = field(default_factory=dict)


@dataclass(frozen=True)
class ContinualScenario(ABC):
    """One file of odl/learn/scenarios."""

    name: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def prepare(self, seed: int, split: SplitName, progress: Progress) -> ContinualTask:
        """The task of a seed, judged on `split`."""


@dataclass(frozen=True)
class ForgettingScenario(ABC):
    """One file of odl/learn/scenarios."""

    name: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def prepare(self, split: SplitName, progress: Progress) -> ForgettingTask:
        """The task, judged on `split`. Seeds share it, and with it the retrained networks."""


@dataclass(frozen=True)
class MicroBatch:
    """Samples of one update, and where they lie in their data set."""

    x: Floats
    y: NDArray[np.int64]
    indices: NDArray[np.int64]


def in_order(data: Dataset, size: int) -> Iterator[MicroBatch]:
    """The samples of a stream, as they come, each once."""
    for start in range(0, len(data), size):
        chosen = np.arange(start, min(start + size, len(data)))
        yield MicroBatch(data.x[chosen], data.y[chosen], chosen)


def drawn(data: Dataset, size: int, count: int, generator: np.random.Generator) -> Iterator[MicroBatch]:
    """`count` micro-batches: permutations of the samples, one behind the other."""
    waiting = np.empty(0, np.int64)
    for _ in range(count):
        while len(waiting) < size:
            waiting = np.concatenate([waiting, generator.permutation(len(data))])
        chosen, waiting = waiting[:size], waiting[size:]
        yield MicroBatch(data.x[chosen], data.y[chosen], chosen)
