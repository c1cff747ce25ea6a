"""Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from odl.graph.ir import DType
from odl.kernels.call import Argument, Number, Runtime
from odl.kernels.signature import Direction, Kernel, Operand, Scalar
from odl.optimizers.base import (
    BELOW_ONE,
    LEARNING_RATE,
    NOT_NEGATIVE,
    POSITIVE,
    Optimizer,
    RunTimeScalar,
    State,
    Update,
    limited,
    update_kernel,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Adam(Optimizer):
    """torch.optim.Adam (Kingma and Ba 2015): learning rate, betas, eps, L2 weight decay."""

    name: ClassVar[str] = "adam"
    steps_by_sign: ClassVar[bool] = True

    lr: float = limited(0.001, LEARNING_RATE, "learning rate")
    betas: tuple[float, float] = limited((0.9, 0.999), BELOW_ONE, "decays of both moments")
    eps: float = limited(1e-8, POSITIVE, "what is added to the divisor")
    weight_decay: float = limited(0.0, NOT_NEGATIVE, "L2 weight decay")

    @property
    def states(self) -> tuple[State, ...]:
        """Both moments, in fp32: a second moment would underflow in fp16."""
        return (State("exp_avg", DType.F32), State("exp_avg_sq", DType.F32))

    @property
    def own_scalars(self) -> tuple[RunTimeScalar, ...]:
        """1 - beta^t after t updates, for each moment."""
        return tuple(
            RunTimeScalar(
                name,
                advance=f"{{state}}.{name} += (1.0f - {{state}}.{name}) * {{rate}};",
                numbers={"rate": 1 - beta},
            )
            for name, beta in zip(("bias_correction1", "bias_correction2"), self.betas, strict=True)
        )

    @override
    def update(self) -> AdamUpdate:
        return AdamUpdate(*self.betas, eps=self.eps, weight_decay=self.weight_decay)

    @override
    def twin(self, parameters: Sequence[torch.Tensor], learning_rate: float) -> torch.optim.Optimizer:
        import torch

        return torch.optim.Adam(parameters, learning_rate, self.betas, self.eps, self.weight_decay)


KERNEL = update_kernel(
    "adam",
    [Operand(moment, "f32", Direction.UPDATE) for moment in ("exp_avg", "exp_avg_sq")],
    [Scalar(name) for name in ("rate1", "rate2", "eps", "bias_correction1", "bias_correction2")],
)


@dataclass(frozen=True)
class AdamUpdate(Update):
    """Algorithm 1 of Kingma and Ba with 1 - beta^t kept by the network; see the template."""

    inputs: ClassVar[tuple[str, ...]] = (*Update.inputs, "exp_avg", "exp_avg_sq")
    signature: ClassVar[Kernel] = KERNEL
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    @property
    def scalars(self) -> Mapping[str, Argument]:
        """1 - beta, which fp32 holds more exactly than beta near 1, eps, and the network's 1 - beta^t."""
        return {
            "rate1": Number(1 - self.beta1),
            "rate2": Number(1 - self.beta2),
            "eps": Number(self.eps),
            "bias_correction1": Runtime("bias_correction1"),
            "bias_correction2": Runtime("bias_correction2"),
        }
