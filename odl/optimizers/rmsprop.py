"""RMSprop (Hinton, lecture 6e of Neural Networks for Machine Learning, 2012)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from odl.kernels.signature import Kernel, Scalar, updated
from odl.optimizers.base import (
    BELOW_ONE,
    MOMENTUM,
    MOMENTUM_BUFFER,
    NOT_NEGATIVE,
    POSITIVE,
    Optimizer,
    learning_rate,
    limited,
    update_kernel,
)

# The mean square is kept in fp32, since squares underflow in fp16.
KERNEL = update_kernel(
    "rmsprop", [updated("square_avg", "f32"), MOMENTUM_BUFFER], [Scalar("rate"), Scalar("eps"), MOMENTUM]
)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """torch.optim.RMSprop: learning rate, alpha, eps, L2 weight decay, momentum; not centered.

    Divides a gradient by the root of the mean of its squares; see the template.
    """

    name: ClassVar[str] = "rmsprop"
    steps_by_sign: ClassVar[bool] = True
    kernel: ClassVar[Kernel] = KERNEL

    lr: float = learning_rate(0.01)
    alpha: float = limited(0.99, BELOW_ONE, "decay of the mean square of gradients")
    eps: float = limited(1e-8, POSITIVE, "what is added to the divisor")
    weight_decay: float = limited(0.0, NOT_NEGATIVE, "L2 weight decay")
    momentum: float = limited(0.0, BELOW_ONE, "momentum")

    @property
    @override
    def numbers(self) -> Mapping[str, float]:
        """1 - alpha, which fp32 holds more exactly than alpha near 1."""
        return {"rate": 1 - self.alpha}
