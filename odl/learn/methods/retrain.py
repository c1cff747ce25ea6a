"""Training anew without the forgotten samples, on a host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.learn.method import ForgettingMethod
from odl.learn.network import Size
from odl.learn.task import ForgettingTask
from odl.learn.trainer import Trainer, weights_of


@dataclass(frozen=True)
class Retrain(ForgettingMethod):
    """One more retrained network, of a seed that no reference has; batch norm and Adam, as in pretraining."""

    name: ClassVar[str] = "retrain"
    paper: ClassVar[str] = "none: what every other method is measured by"
    equations: ClassVar[str] = "θ = training of the reference data from new weights"
    exact: ClassVar[bool] = True

    @override
    def forget(self, trainer: Trainer, task: ForgettingTask, generator: np.random.Generator) -> None:
        seed = 1000 + int(generator.integers(1000))
        trainer.set_weights(weights_of(task.network.trained(task.reference, task.recipe, seed)))
        trainer.costs.backward += task.recipe.pretrain_epochs * len(task.reference)

    @override
    def stored_bytes(self, task: ForgettingTask, size: Size) -> int:
        return len(task.reference) * (int(np.prod(task.network.input_shape)) + 1)
