"""AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from odl.kernels.signature import Specialisation
from odl.optimizers.adam import Adam
from odl.optimizers.base import NOT_NEGATIVE, limited


@dataclass(frozen=True)
class AdamW(Adam):
    """torch.optim.AdamW: as Adam, of a weight that is multiplied with 1 - lr weight_decay first.

    Its weight decay is no part of the gradient.
    """

    name: ClassVar[str] = "adamw"
    specialisation: ClassVar[Specialisation] = {"decoupled": True}

    weight_decay: float = limited(0.01, NOT_NEGATIVE, "weight decay apart from the gradient")
