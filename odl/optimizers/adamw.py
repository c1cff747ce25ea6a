"""AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from odl.kernels.signature import Specialisation
from odl.operators.base import KernelRequest
from odl.optimizers.adam import Adam, AdamUpdate
from odl.optimizers.base import NOT_NEGATIVE, limited

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class AdamW(Adam):
    """torch.optim.AdamW: as Adam, but its weight decay is no part of the gradient."""

    name: ClassVar[str] = "adamw"

    weight_decay: float = limited(0.01, NOT_NEGATIVE, "weight decay apart from the gradient")

    @override
    def update(self) -> AdamwUpdate:
        return AdamwUpdate(*self.betas, eps=self.eps, weight_decay=self.weight_decay)

    @override
    def twin(self, parameters: Sequence[torch.Tensor], learning_rate: float) -> torch.optim.Optimizer:
        import torch

        return torch.optim.AdamW(parameters, learning_rate, self.betas, self.eps, self.weight_decay)


@dataclass(frozen=True)
class AdamwUpdate(AdamUpdate):
    """Adam's update of a weight that is multiplied with 1 - lr weight_decay first."""

    def specialisation(self, request: KernelRequest) -> Specialisation:
        """Adam's kernel, decoupled from weight decay."""
        return {"decoupled": True}
