"""Forgetting by making small what matters to the forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from odl.learners.base import Learner


@dataclass(frozen=True)
class Dampening(Learner):
    """Selective synaptic dampening (Foster et al. 2024, arXiv:2308.07707, equations 4 and 6); needs `Importance`.

    A second sum for every parameter is the reference: the importance of the samples to be retained.
    """

    name: ClassVar[str] = "dampening"
    text: ClassVar[str] = "weights that matter most to forgotten samples become smaller; with importance"
