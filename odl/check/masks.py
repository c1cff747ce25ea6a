"""Kinks of the float64 reference (activation masks, pooling winners), aligned with the device's inside the rounding error.

The gradient of a clamp jumps where its input meets a limit, that of a maximum where two inputs are equal. A unit nearer
to the kink than rounding can resolve may rightly be on either side, and both one-sided gradients are right; the
reference then takes the device's side. A unit farther away keeps its own side, so that a wrong mask or winner shows as a
wrong gradient. How far rounding reaches at each kink is measured: it is what float32 PyTorch's own rounding did there
(`rounding_noise`), scaled to the device's precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as functional
from torch.overrides import TorchFunctionMode

from odl.check.bounds import relative_error
from odl.errors import CheckFailedError
from odl.graph.operator import Array

_LIMITS = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}
#: The limits of functions that are given them, by the names of their parameters.
_GIVEN_LIMITS: Mapping[str, Mapping[str, float | None]] = {
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
    "clamp": {"min": None, "max": None},
    "clip": {"min": None, "max": None},
    "clamp_min": {"min": None},
    "clamp_max": {"max": None},
}
_LIMIT_NAMES = (("min_val", "min"), ("max_val", "max"))
Kinks = tuple[tuple[float, Callable[[torch.Tensor], torch.Tensor]], ...]
#: Where the slope of other functions jumps, and which outputs belong to inputs above that.
_KINKS: Mapping[str, Kinks] = {
    **dict.fromkeys(("leaky_relu", "elu", "selu", "celu", "prelu"), ((0.0, lambda y: y > 0),)),
    "hardsigmoid": ((-3.0, lambda y: y > 0), (3.0, lambda y: y >= 1)),
    "hardswish": ((-3.0, lambda y: y < 0), (3.0, lambda y: y >= 3)),
}
_MAX_POOL = {"max_pool1d", "_max_pool1d", "max_pool2d", "_max_pool2d"}
#: Units of one tensor that may lie in the band by chance, however narrow it is.
_CHANCE = 3


@dataclass(frozen=True)
class DeviceActivation:
    """What the device computed for one activation function, in PyTorch's layout, and the function's limits."""

    name: str
    output: Array
    low: float
    high: float


@dataclass(frozen=True)
class DeviceOutput:
    """What the device computed for another function whose slope jumps, in PyTorch's layout."""

    name: str
    output: Array


@dataclass(frozen=True)
class DeviceWinners:
    """The positions in their windows, row by row, that the device's max pooling chose; [N,C,OH,OW].

    None where no gradient passes, so that only the largest values count.
    """

    name: str
    winners: Array | None


Observed = DeviceActivation | DeviceOutput | DeviceWinners


@dataclass(frozen=True)
class Flips:
    """The share of units that took the device's side against their own, and the share that rounding explains."""

    share: float
    explained: float


@dataclass
class AlignedMasks(TorchFunctionMode):
    """While active, activation functions go on from the device's values, on the device's side inside the rounding band.

    So every stretch of the model from one activation to the next is compared for itself, at the values that the
    device had: rounding that a deep model with batch statistics would magnify beyond recognition counts once, where it
    happens. Max pooling takes the device's winners inside the band.

    `band` is the band's least half width relative to the root mean square of the activation's input, `noise` its
    least half width at each kink in the input's own units. `flips` collects what took the other side, `errors` how far
    the device's values were from the model's own, `inputs` the inputs of all kinks in float64.
    """

    activations: Sequence[Observed]
    band: float
    noise: Sequence[float] = ()
    flips: dict[str, Flips] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    inputs: list[torch.Tensor] = field(default_factory=list)
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
        limits, kinks = _limits(name, args, kwargs), _KINKS.get(name.removesuffix("_"))
        if limits is None and kinks is None and name not in _MAX_POOL:
            return func(*args, **kwargs)
        if self._next >= len(self.activations):
            return func(*args, **kwargs)
        device = self.activations[self._next]
        self._next += 1
        self.inputs.append(args[0].detach().double().clone())
        if limits is not None and isinstance(device, DeviceActivation):
            return self._aligned(args[0], device, *limits)
        if kinks is not None and isinstance(device, DeviceOutput):
            return self._beside(kinks, device, lambda x: func(x, *args[1:], **kwargs), args[0])
        if limits is None and kinks is None and isinstance(device, DeviceWinners):
            if device.winners is None:
                return func(*args, **kwargs)
            return self._pooled(device.name, device.winners, *args, **kwargs)
        raise CheckFailedError(f"'{device.name}' on the device stands where the model calls {name}")

    def _pooled(
        self,
        name: str,
        winners_there: Array,
        x: torch.Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        *unused: Any,
        **more: Any,
    ) -> torch.Tensor:
        kernel, steps, pads = _pair(kernel_size), _pair(stride or kernel_size), _pair(padding)
        if x.dim() == 3:  # a sequence is an image of one row
            kernel, steps, pads = (1, kernel[1]), (1, steps[1]), (0, pads[1])
            return self._pooled(name, winners_there, x[:, :, None], kernel, steps, pads)[:, :, 0]
        padded = functional.pad(x, (pads[1], pads[1], pads[0], pads[0]), value=-math.inf)
        windows = padded.unfold(2, kernel[0], steps[0]).unfold(3, kernel[1], steps[1]).flatten(4)
        with torch.no_grad():
            own = windows.argmax(dim=4)
            chosen = torch.from_numpy(winners_there.astype("int64")).reshape(own.shape)
            behind = windows.amax(dim=4) - windows.gather(4, chosen[..., None])[..., 0]
            width, scale = self._width(x)
            winners = torch.where(behind <= width, chosen, own)
            self._count(name, winners != own, width, scale)
        return windows.gather(4, winners[..., None])[..., 0]

    def _aligned(self, x: torch.Tensor, device: DeviceActivation, low: float, high: float) -> torch.Tensor:
        with torch.no_grad():
            passes = (x > low) & (x < high)
            output = torch.from_numpy(device.output.astype("float64")).to(x.dtype).reshape(x.shape)
            on_device = (output > device.low) & (output < device.high)
            distance = torch.minimum((x - low).abs(), (x - high).abs())
            width, scale = self._width(x)
            aligned = torch.where(distance <= width, on_device, passes)
            self._count(device.name, aligned != passes, width, scale)
            floor = math.sqrt(x.numel()) * self._noise() / self.band if self.band > 0 else 0.0
            self.errors[device.name] = relative_error(output.numpy(), x.clamp(low, high).numpy(), floor)
        result: torch.Tensor = _Activation.apply(x, output, aligned)  # type: ignore[no-untyped-call]
        return result

    def _beside(
        self,
        kinks: Kinks,
        device: DeviceOutput,
        function: Callable[[torch.Tensor], torch.Tensor],
        x: torch.Tensor,
    ) -> torch.Tensor:
        """The function's slope on the device's side of its kinks inside the band; the value is the device's."""
        with torch.no_grad():
            output = torch.from_numpy(device.output.astype("float64")).to(x.dtype).reshape(x.shape)
            width, scale = self._width(x)
            there = x.clone()
            for kink, above in kinks:
                at = torch.full_like(x, kink)
                side = torch.where(above(output), torch.nextafter(at, at + 1), torch.nextafter(at, at - 1))
                other = ((x - kink).abs() <= width) & ((x > kink) != (side > kink))
                there = torch.where(other, side, there)
            self._count(device.name, there != x, width, scale)
            floor = math.sqrt(x.numel()) * self._noise() / self.band if self.band > 0 else 0.0
            self.errors[device.name] = relative_error(output.numpy(), function(x.clone()).numpy(), floor)
        y = function(x + (there - x).detach())
        return y + (output - y).detach()

    def _width(self, x: torch.Tensor) -> tuple[float, float]:
        """Half width of the band at the current kink, and the root mean square of its input."""
        scale = float(x.square().mean().sqrt())
        return max(self.band * scale, self._noise()), scale

    def _noise(self) -> float:
        return self.noise[self._next - 1] if self._next <= len(self.noise) else 0.0

    def _count(self, name: str, flipped: torch.Tensor, width: float, scale: float) -> None:
        """A unit is in the band with probability of about its width over the scale; a few are there by chance."""
        explained = (width / scale if scale > 0 else 1.0) + _CHANCE / flipped.numel()
        self.flips[name] = Flips(float(flipped.double().mean()), explained)


def rounding_noise(exact: AlignedMasks, single: AlignedMasks) -> list[float]:
    """Root mean square of what float32 rounding did to each kink's input since the device's values before it."""
    pairs = zip(exact.inputs, single.inputs, strict=True)
    return [float((ours - other).square().mean().sqrt()) for ours, other in pairs]


class _Activation(torch.autograd.Function):
    """An activation function with a given value, whose gradient passes where the given mask says."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(mask)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return gradients[0] * mask, None, None


def _limits(name: str, args: Any, kwargs: Any) -> tuple[float, float] | None:
    """The limits of an activation function, which may work in place; None for any other function."""
    name = name.removesuffix("_")
    if name not in _GIVEN_LIMITS:
        return _LIMITS.get(name)
    defaults = _GIVEN_LIMITS[name]
    given = {**defaults, **dict(zip(defaults, args[1:], strict=False)), **kwargs}
    low, high = (next((given[name] for name in names if name in given), None) for names in _LIMIT_NAMES)
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)


def _pair(size: Any) -> tuple[int, int]:
    return (int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[-1]))
