"""Nothing is done: what there is to forget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.learn.method import ForgettingMethod
from odl.learn.network import Size
from odl.learn.task import ForgettingTask
from odl.learn.trainer import Trainer


@dataclass(frozen=True)
class Original(ForgettingMethod):
    """The network as it was."""

    name: ClassVar[str] = "original"
    paper: ClassVar[str] = "none: the lower end of every table"
    equations: ClassVar[str] = "θ ← θ"

    @override
    def forget(self, trainer: Trainer, task: ForgettingTask, generator: np.random.Generator) -> None:
        pass

    @override
    def stored_bytes(self, task: ForgettingTask, size: Size) -> int:
        return 0
