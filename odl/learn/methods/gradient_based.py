"""Forgetting by updates on weighted cross-entropy: each method is a factor and a label for each sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.learn.method import ForgettingMethod, data_bytes, losses
from odl.learn.network import Size
from odl.learn.steps import paired, train_both
from odl.learn.task import ForgettingTask, drawn
from odl.learn.trainer import Trainer


@dataclass(frozen=True)
class FineTune(ForgettingMethod):
    """Training goes on with retained samples only."""

    name: ClassVar[str] = "fine-tune"
    paper: ClassVar[str] = (
        "Warnecke et al. 2021, Machine Unlearning of Features and Labels; Golatkar et al. 2020"
    )
    equations: ClassVar[str] = "θ ← θ − η ∇CE(retained)"
    rate: float = 0.01
    updates: int = 100
    micro_batch: int = 16

    @override
    def forget(self, trainer: Trainer, task: ForgettingTask, generator: np.random.Generator) -> None:
        trainer.set_learning_rate(self.rate)
        for batch in drawn(task.retained, self.micro_batch, self.updates, generator):
            trainer.train(batch.x, batch.y)

    @override
    def stored_bytes(self, task: ForgettingTask, size: Size) -> int:
        return data_bytes(task)


@dataclass(frozen=True)
class GradientAscent(ForgettingMethod):
    """Up the loss of the forgotten samples, without a look at anything else."""

    name: ClassVar[str] = "ascent"
    paper: ClassVar[str] = "Thudi et al. 2022, Unrolling SGD, arXiv:2109.13398; rate as in SalUn's code"
    equations: ClassVar[str] = "θ ← θ + η ∇CE(forgotten)"
    rate: float = 1e-4
    updates: int = 75
    micro_batch: int = 16

    @override
    def forget(self, trainer: Trainer, task: ForgettingTask, generator: np.random.Generator) -> None:
        trainer.set_learning_rate(self.rate)
        for batch in drawn(task.forget, min(self.micro_batch, len(task.forget)), self.updates, generator):
            trainer.train(batch.x, batch.y, -np.ones(len(batch.x)))

    @override
    def stored_bytes(self, task: ForgettingTask, size: Size) -> int:
        return 0


@dataclass(frozen=True)
class NegGrad(ForgettingMethod):
    """Down the loss of retained samples and a little up that of the forgotten ones."""

    name: ClassVar[str] = "neggrad"
    paper: ClassVar[str] = (
        "Kurmanji et al. 2023, Towards Unbounded Machine Unlearning, arXiv:2302.09880 (NegGrad+)"
    )
    equations: ClassVar[str] = "section 4: α CE(retained) − (1 − α) CE(forgotten)"
    rate: float = 0.02
    alpha: float = 0.95
    updates: int = 80
    micro_batch: int = 16

    @override
    def forget(self, trainer: Trainer, task: ForgettingTask, generator: np.random.Generator) -> None:
        trainer.set_learning_rate(self.rate)
        for forget, retain in paired(task, self.micro_batch, self.updates, generator):
            down, up = np.full(len(retain.x), self.alpha), np.full(len(forget.x), self.alpha - 1)
            train_both(trainer, (forget.x, forget.y, up), (retain.x, retain.y, down))

    @override
    def stored_bytes(self, task: ForgettingTask, size: Size) -> int:
        return data_bytes(task)


@dataclass(frozen=True)
class NPO(ForgettingMethod):
    """Ascent that fades as a sample becomes less likely than it was; one number is stored for each forgotten sample."""

    name: ClassVar[str] = "npo"
    paper: ClassVar[str] = "Zhang et al. 2024, Negative Preference Optimization, arXiv:2404.05868"
    equations: ClassVar[str] = "equation 3; factor −2 p^β / (p^β + p₀^β)"
    rate: float = 0.02
    beta: float = 1.0
    updates: int = 80
    micro_batch: int = 16

    @override
    def forget(self, trainer: Trainer, task: ForgettingTask, generator: np.random.Generator) -> None:
        trainer.set_learning_rate(self.rate)
        before = losses(trainer.infer(task.forget.x), task.forget.y)
        for forget, retain in paired(task, self.micro_batch, self.updates, generator):
            now = losses(trainer.infer(forget.x), forget.y)
            # p^β / (p^β + p₀^β) with p = exp(−loss)
            factors = -2 * _sigmoid(self.beta * (before[forget.indices] - now))
            train_both(trainer, (forget.x, forget.y, factors), (retain.x, retain.y, np.ones(len(retain.x))))

    @override
    def stored_bytes(self, task: ForgettingTask, size: Size) -> int:
        return data_bytes(task) + 4 * len(task.forget)


@dataclass(frozen=True)
class SimNPO(ForgettingMethod):
    """As NPO, without a reference: the factor depends on the loss alone."""

    name: ClassVar[str] = "simnpo"
    paper: ClassVar[str] = "Fan et al. 2024, Simplicity Prevails, arXiv:2410.07163"
    equations: ClassVar[str] = "equation 4; factor −2 c σ(−β (CE − γ))"
    rate: float = 0.02
    beta: float = 2.5
    gamma: float = 0.0
    c: float = 1.0
    updates: int = 80
    micro_batch: int = 16

    @override
    def forget(self, trainer: Trainer, task: ForgettingTask, generator: np.random.Generator) -> None:
        trainer.set_learning_rate(self.rate)
        for forget, retain in paired(task, self.micro_batch, self.updates, generator):
            now = losses(trainer.infer(forget.x), forget.y)
            factors = -2 * self.c * _sigmoid(-self.beta * (now - self.gamma))
            train_both(trainer, (forget.x, forget.y, factors), (retain.x, retain.y, np.ones(len(retain.x))))

    @override
    def stored_bytes(self, task: ForgettingTask, size: Size) -> int:
        return data_bytes(task)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -60, 60))))
