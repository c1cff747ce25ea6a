"""RMSprop (Hinton, lecture 6e of Neural Networks for Machine Learning, 2012)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from odl.graph.ir import DType
from odl.kernels.call import Argument, Number
from odl.kernels.signature import Direction, Kernel, Operand, Scalar, Specialisation
from odl.operators.base import KernelRequest
from odl.optimizers.base import (
    BELOW_ONE,
    LEARNING_RATE,
    NOT_NEGATIVE,
    POSITIVE,
    Optimizer,
    State,
    Update,
    limited,
    update_kernel,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """torch.optim.RMSprop: learning rate, alpha, eps, L2 weight decay, momentum; not centered."""

    name: ClassVar[str] = "rmsprop"
    steps_by_sign: ClassVar[bool] = True

    lr: float = limited(0.01, LEARNING_RATE, "learning rate")
    alpha: float = limited(0.99, BELOW_ONE, "decay of the mean square of gradients")
    eps: float = limited(1e-8, POSITIVE, "what is added to the divisor")
    weight_decay: float = limited(0.0, NOT_NEGATIVE, "L2 weight decay")
    momentum: float = limited(0.0, BELOW_ONE, "momentum")

    @property
    def states(self) -> tuple[State, ...]:
        """The mean square in fp32, since squares underflow in fp16; the momentum in the parameter's type."""
        momentum = (State("momentum_buffer"),) if self.momentum else ()
        return (State("square_avg", DType.F32), *momentum)

    @override
    def update(self) -> RmspropUpdate:
        return RmspropUpdate(self.alpha, self.eps, self.momentum, self.weight_decay)

    @override
    def twin(self, parameters: Sequence[torch.Tensor], learning_rate: float) -> torch.optim.Optimizer:
        import torch

        return torch.optim.RMSprop(
            parameters, learning_rate, self.alpha, self.eps, self.weight_decay, self.momentum
        )


KERNEL = update_kernel(
    "rmsprop",
    [
        Operand("square_avg", "f32", Direction.UPDATE),
        Operand("momentum_buffer", "M", Direction.UPDATE, only_with="momentum"),
    ],
    [Scalar("rate"), Scalar("eps"), Scalar("momentum", only_with="momentum")],
)


@dataclass(frozen=True)
class RmspropUpdate(Update):
    """Divides a gradient by the root of the mean of its squares; see the template."""

    inputs: ClassVar[tuple[str, ...]] = (*Update.inputs, "square_avg", "momentum_buffer")
    signature: ClassVar[Kernel] = KERNEL
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0

    @property
    def scalars(self) -> Mapping[str, Argument]:
        """1 - alpha, which fp32 holds more exactly than alpha near 1, eps, and the momentum."""
        momentum: dict[str, Argument] = {"momentum": Number(self.momentum)} if self.momentum else {}
        return {"rate": Number(1 - self.alpha), "eps": Number(self.eps), **momentum}

    def specialisation(self, request: KernelRequest) -> Specialisation:
        """The momentum's type."""
        buffer = request.value("momentum_buffer")
        return {"momentum": self.momentum != 0.0, "M": "none" if buffer is None else buffer.dtype}
