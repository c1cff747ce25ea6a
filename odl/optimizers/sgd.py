"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from odl.kernels.call import Argument, Number
from odl.kernels.signature import Direction, Kernel, Operand, Scalar, Specialisation
from odl.operators.base import KernelRequest
from odl.optimizers.base import (
    BELOW_ONE,
    LEARNING_RATE,
    NOT_NEGATIVE,
    Optimizer,
    State,
    Update,
    limited,
    update_kernel,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SGD(Optimizer):
    """torch.optim.SGD: learning rate, momentum (no dampening, no Nesterov), L2 weight decay."""

    name: ClassVar[str] = "sgd"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"momentum": {"momentum": 0.9}}

    lr: float = limited(0.01, LEARNING_RATE, "learning rate")
    momentum: float = limited(0.0, BELOW_ONE, "momentum")
    weight_decay: float = limited(0.0, NOT_NEGATIVE, "L2 weight decay")

    @property
    def title(self) -> str:
        """SGD, and its momentum where it has one."""
        return f"SGD with momentum {self.momentum:g}" if self.momentum else "SGD"

    @property
    def states(self) -> tuple[State, ...]:
        """The momentum, in the parameter's type."""
        return (State("momentum_buffer"),) if self.momentum else ()

    @override
    def update(self) -> SgdUpdate:
        return SgdUpdate(momentum=self.momentum, weight_decay=self.weight_decay)

    @override
    def twin(self, parameters: Sequence[torch.Tensor], learning_rate: float) -> torch.optim.Optimizer:
        import torch

        return torch.optim.SGD(parameters, learning_rate, self.momentum, weight_decay=self.weight_decay)


KERNEL = update_kernel(
    "sgd",
    [Operand("momentum_buffer", "M", Direction.UPDATE, only_with="momentum")],
    [Scalar("momentum", only_with="momentum")],
)


@dataclass(frozen=True)
class SgdUpdate(Update):
    """g = g factor + weight_decay w; buf = momentum buf + g; w -= lr buf; without momentum no buf."""

    inputs: ClassVar[tuple[str, ...]] = (*Update.inputs, "momentum_buffer")
    signature: ClassVar[Kernel] = KERNEL
    momentum: float = 0.0
    weight_decay: float = 0.0

    @property
    def scalars(self) -> Mapping[str, Argument]:
        """The momentum."""
        return {"momentum": Number(self.momentum)} if self.momentum else {}

    def specialisation(self, request: KernelRequest) -> Specialisation:
        """The momentum's type."""
        buffer = request.value("momentum_buffer")
        return {"momentum": self.momentum != 0.0, "M": "none" if buffer is None else buffer.dtype}
