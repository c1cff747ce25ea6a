"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from odl.kernels.signature import Kernel
from odl.optimizers.base import (
    BELOW_ONE,
    MOMENTUM,
    MOMENTUM_BUFFER,
    NOT_NEGATIVE,
    Optimizer,
    learning_rate,
    limited,
    update_kernel,
)

KERNEL = update_kernel("sgd", [MOMENTUM_BUFFER], [MOMENTUM])


@dataclass(frozen=True)
class SGD(Optimizer):
    """torch.optim.SGD: learning rate, momentum (no dampening, no Nesterov), L2 weight decay.

    g = g factor + weight_decay w; buf = momentum buf + g; w -= lr buf; without momentum no buf.
    """

    name: ClassVar[str] = "sgd"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"momentum": {"momentum": 0.9}}
    kernel: ClassVar[Kernel] = KERNEL

    lr: float = learning_rate(0.01)
    momentum: float = limited(0.0, BELOW_ONE, "momentum")
    weight_decay: float = limited(0.0, NOT_NEGATIVE, "L2 weight decay")

    @property
    @override
    def title(self) -> str:
        """SGD, and its momentum where it has one."""
        return f"SGD with momentum {self.momentum:g}" if self.momentum else "SGD"
