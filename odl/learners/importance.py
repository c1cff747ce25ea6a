"""How much the loss depends on each parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from odl.learners.base import Learner


@dataclass(frozen=True)
class Importance(Learner):
    """Sums of squared gradients of single samples: the diagonal of the empirical Fisher information matrix."""

    name: ClassVar[str] = "importance"
    text: ClassVar[str] = "sums of squared gradients"
