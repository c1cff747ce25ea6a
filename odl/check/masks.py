"""Activation masks of the float64 reference, aligned with the device's inside the rounding error.

The gradient of a clamp jumps where its input meets a limit. A unit nearer to a limit than rounding can resolve may
rightly be on either side, and both one-sided gradients are right; the reference then takes the device's side. A unit
farther away keeps its own side, so that a wrong mask shows as a wrong gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from odl.operators.base import Array

_RELU = {"relu", "relu_"}
_RELU6 = {"relu6", "relu6_"}
_HARDTANH = {"hardtanh", "hardtanh_"}


@dataclass(frozen=True)
class DeviceActivation:
    """What the device computed for one activation function, in PyTorch's layout, and the function's limits."""

    name: str
    output: Array
    low: float
    high: float


@dataclass
class AlignedMasks(TorchFunctionMode):
    """While active, the activation functions of a forward pass take the device's side inside the rounding band.

    `band` is the band's half width relative to the root mean square of the activation's input; `flips` collects the
    share of units that took the other side.
    """

    activations: Sequence[DeviceActivation]
    band: float
    flips: dict[str, float] = field(default_factory=dict)
    _next: int = 0

    def __post_init__(self) -> None:
        """Enter-able as TorchFunctionMode wants it."""
        super().__init__()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Replace activation functions; everything else runs as it is."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        limits = _limits(name, args, kwargs)
        if limits is None or self._next >= len(self.activations):
            return func(*args, **kwargs)
        activation = self.activations[self._next]
        self._next += 1
        return self._aligned(args[0], activation, *limits)

    def _aligned(self, x: torch.Tensor, device: DeviceActivation, low: float, high: float) -> torch.Tensor:
        with torch.no_grad():
            passes = (x > low) & (x < high)
            output = torch.from_numpy(device.output.astype("float64")).to(x.dtype).reshape(x.shape)
            on_device = (output > low) & (output < high)
            distance = torch.minimum((x - low).abs(), (x - high).abs())
            close = distance <= self.band * x.square().mean().sqrt()
            aligned = torch.where(close, on_device, passes)
            self.flips[device.name] = float((aligned != passes).double().mean())
        clamped: torch.Tensor = _Clamp.apply(x, aligned, low, high)  # type: ignore[no-untyped-call]
        return clamped


class _Clamp(torch.autograd.Function):
    """A clamp whose gradient passes where the given mask says."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, mask: torch.Tensor, low: float, high: float) -> torch.Tensor:
        ctx.save_for_backward(mask)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:  # type: ignore[override]
        (mask,) = ctx.saved_tensors
        return gradients[0] * mask, None, None, None


def _limits(name: str, args: Any, kwargs: Any) -> tuple[float, float] | None:
    if name in _RELU:
        return 0.0, math.inf
    if name in _RELU6:
        return 0.0, 6.0
    if name in _HARDTANH:
        low = args[1] if len(args) > 1 else kwargs.get("min_val", -1.0)
        high = args[2] if len(args) > 2 else kwargs.get("max_val", 1.0)
        return float(low), float(high)
    return None
