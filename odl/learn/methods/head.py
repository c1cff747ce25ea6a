"""Analytic heads: statistics of frozen features, solved into a linear classifier. Nothing runs backward."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from odl.learn.features import Codes, Quantiser, Statistics, blocks, pooled
from odl.learn.method import ContinualMethod, ContinualRun, classified
from odl.learn.task import ContinualTask, Stage
from odl.learn.trainer import Floats, Trainer

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class AnalyticHead(ContinualMethod):
    """Averages of the last `blocks` blocks' maps as int8, class sums and a Gram matrix as integers of 32 bits.

    The statistics start with the first stage's, which a device is shipped with. A class without samples is never predicted.
    """

    blocks: int = 3

    @override
    def begin(self, trainer: Trainer, task: ContinualTask, generator: np.random.Generator) -> HeadRun:
        return HeadRun(trainer, self, task, generator)

    def mapped(self, codes: Codes, seed: int) -> Codes:
        """Codes [N, D] to those [N, D'] that the statistics are of."""
        return codes

    @abstractmethod
    def solve(self, statistics: Statistics) -> tuple[Doubles, Doubles]:
        """Weights [classes, D] and bias [classes] of the classifier."""

    def scratch_bytes(self, features: int) -> int:
        """Bytes while solving: a Cholesky factor in fp32; they are needed when no step runs, so a step's memory serves."""
        return 2 * features * (features + 1)


@dataclass(frozen=True)
class NCM(AnalyticHead):
    """The class whose mean is nearest."""

    name: ClassVar[str] = "ncm"
    paper: ClassVar[str] = (
        "Mensink et al. 2013, Distance-Based Image Classification; Rebuffi et al. 2017 (iCaRL)"
    )
    equations: ClassVar[str] = "iCaRL, equation 2: argmin over c of ‖φ − μ_c‖"

    @override
    def solve(self, statistics: Statistics) -> tuple[Doubles, Doubles]:
        means = _means(statistics)
        return means, -0.5 * (means**2).sum(axis=1)

    @override
    def scratch_bytes(self, features: int) -> int:
        return 0


@dataclass(frozen=True)
class SLDA(AnalyticHead):
    """One covariance for all classes, with shrinkage towards the mean variance."""

    name: ClassVar[str] = "slda"
    paper: ClassVar[str] = (
        "Hayes and Kanan 2020, Lifelong Machine Learning with Deep Streaming LDA, arXiv:1909.01520"
    )
    equations: ClassVar[str] = "equations 1 to 5: Λ = [(1 − ε) Σ + ε I]⁻¹, w_c = Λ μ_c, b_c = −½ μ_cᵀ Λ μ_c"
    shrinkage: float = 1e-4

    @override
    def solve(self, statistics: Statistics) -> tuple[Doubles, Doubles]:
        means, counts = _means(statistics), statistics.counts.astype(np.float64)
        within = statistics.gram - (means.T * counts) @ means
        covariance = within / max(1.0, counts.sum())
        weights = _solved(_shrunk(covariance, self.shrinkage), means)
        return weights, -0.5 * (weights * means).sum(axis=1)


@dataclass(frozen=True)
class Ridge(AnalyticHead):
    """Regression on one-hot labels; classes weigh equally in the bias through their means."""

    name: ClassVar[str] = "ridge"
    paper: ClassVar[str] = "McDonnell et al. 2023, RanPAC, arXiv:2307.02251 (without its projection)"
    equations: ClassVar[str] = "equation 3: W = (G + λI)⁻¹ C"
    penalty: float = 1e-4

    @override
    def solve(self, statistics: Statistics) -> tuple[Doubles, Doubles]:
        total = max(1, int(statistics.counts.sum()))
        centre = statistics.sums.sum(axis=0) / total
        covariance = statistics.gram / total - np.outer(centre, centre)
        cross = statistics.sums / total - np.outer(statistics.counts / total, centre)
        weights = _solved(_shrunk(covariance, self.penalty), cross)
        return weights, statistics.counts / total - weights @ centre


@dataclass(frozen=True)
class Fourier(Ridge):
    """Ridge on random Fourier features of a Gaussian kernel; the projection comes from a seed and is never stored."""

    name: ClassVar[str] = "fourier"
    paper: ClassVar[str] = "Rahimi and Recht 2007, Random Features for Large-Scale Kernel Machines"
    equations: ClassVar[str] = "algorithm 1: φ = cos(W x + b), W from N(0, σ⁻²), b from U(0, 2π)"
    features: int = 192
    width: float = 0.75

    @override
    def mapped(self, codes: Codes, seed: int) -> Codes:
        generator = np.random.default_rng(seed)
        inputs = codes.shape[1]
        # σ is `width` times the largest distance of two codes divided by 127, the square root of their number.
        directions = generator.normal(size=(inputs, self.features)) / (self.width * 127 * np.sqrt(inputs))
        phases = generator.uniform(0, 2 * np.pi, self.features)
        mapped: Codes = np.rint(127 * np.cos(codes @ directions + phases)).astype(np.int8)
        return mapped


class HeadRun(ContinualRun):
    """The statistics, and the classifier that was solved from them last."""

    def __init__(
        self, trainer: Trainer, method: AnalyticHead, task: ContinualTask, generator: np.random.Generator
    ) -> None:
        super().__init__(trainer)
        self._method, self._module = method, trainer.twin()
        self._layers = blocks(self._module, task.network.input_shape)[-method.blocks :]
        self._seed = int(generator.integers(2**31))
        shipped = task.stages[0].train
        raw = self._pooled(shipped.x)
        self._quantise = Quantiser.fit(raw)
        codes = method.mapped(self._quantise(raw), self._seed)
        self.statistics = Statistics(task.classes, codes.shape[1])
        self.statistics.add(codes, shipped.y)
        self._solve()

    @override
    def learn(self, stage: Stage) -> None:
        self.statistics.add(self._codes(stage.train.x), stage.train.y)
        self._solve()

    def forget(self, x: Floats, y: NDArray[np.int64]) -> None:
        """Take samples out again: the statistics' bits are those of never having seen them."""
        self.statistics.remove(self._codes(x), y)
        self._solve()

    @override
    def predict(self, x: Floats) -> NDArray[np.int64]:
        scores = self._codes(x) @ self._weights.T + self._bias
        scores[:, self.statistics.counts == 0] = -np.inf
        return classified(np.where(np.isneginf(scores), np.finfo(np.float32).min, scores).astype(np.float32))

    @property
    @override
    def stored_bytes(self) -> int:
        classes, features = self.statistics.sums.shape
        return self.statistics.bytes + 4 * len(self._quantise.scale) + 4 * classes * (features + 1)

    @property
    def scratch_bytes(self) -> int:
        """Bytes while solving."""
        return self._method.scratch_bytes(self.statistics.sums.shape[1])

    def _pooled(self, x: Floats) -> Floats:
        self.trainer.costs.forward += len(x)
        return pooled(self._module, self._layers, x)

    def _codes(self, x: Floats) -> Codes:
        return self._method.mapped(self._quantise(self._pooled(x)), self._seed)

    def _solve(self) -> None:
        weights, bias = self._method.solve(self.statistics)
        self._weights, self._bias = weights.astype(np.float32), bias.astype(np.float32)


def _solved(matrix: Doubles, rows: Doubles) -> Doubles:
    """Each row times the inverse of a symmetric matrix."""
    return np.asarray(np.linalg.solve(matrix, rows.T).T, np.float64)


def _means(statistics: Statistics) -> Doubles:
    """Class means [classes, D]; 0 where a class has no samples."""
    return np.asarray(statistics.sums / np.maximum(statistics.counts, 1)[:, None], np.float64)


def _shrunk(covariance: Doubles, shrinkage: float) -> Doubles:
    """(1 − ε) Σ + ε s I, where s is the mean variance of codes that are at most 127: 127² / 16."""
    return np.asarray((1 - shrinkage) * covariance + shrinkage * 127**2 / 16 * np.eye(len(covariance)))
