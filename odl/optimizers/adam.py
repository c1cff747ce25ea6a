"""Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from odl.kernels.signature import Kernel, Scalar, updated
from odl.optimizers.base import (
    BELOW_ONE,
    NOT_NEGATIVE,
    POSITIVE,
    Optimizer,
    RunTimeScalar,
    learning_rate,
    limited,
    update_kernel,
)

# Both moments are kept in fp32: a second moment would underflow in fp16.
KERNEL = update_kernel(
    "adam",
    [updated("exp_avg", "f32"), updated("exp_avg_sq", "f32")],
    [Scalar(name) for name in ("rate1", "rate2", "eps", "bias_correction1", "bias_correction2")],
)


@dataclass(frozen=True)
class Adam(Optimizer):
    """torch.optim.Adam (Kingma and Ba 2015): learning rate, betas, eps, L2 weight decay.

    Algorithm 1 with 1 - beta^t kept by the network; see the template.
    """

    name: ClassVar[str] = "adam"
    steps_by_sign: ClassVar[bool] = True
    kernel: ClassVar[Kernel] = KERNEL

    lr: float = learning_rate(0.001)
    betas: tuple[float, float] = limited((0.9, 0.999), BELOW_ONE, "decays of both moments")
    eps: float = limited(1e-8, POSITIVE, "what is added to the divisor")
    weight_decay: float = limited(0.0, NOT_NEGATIVE, "L2 weight decay")

    @property
    @override
    def numbers(self) -> Mapping[str, float]:
        """1 - beta, which fp32 holds more exactly than beta near 1."""
        return {f"rate{index}": 1 - beta for index, beta in enumerate(self.betas, 1)}

    @property
    @override
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
