"""Functions of one number, element by element, and their gradients; any shape.

Sigmoid, hyperbolic tangent, GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415) with the normal distribution and with its
approximation by tanh, h-swish and h-sigmoid (Howard et al. 2019, arXiv 1905.02244, section 5.2), leaky ReLU, ELU (Clevert
et al. 2015, arXiv 1511.07289) with SELU and CELU, softplus, |x|, sign, and x times a number plus a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.errors import InputError
from odl.graph import Array
from odl.kernels.signature import FLAT_SHAPE, Kernel, Operand, Scalar, Specialisation, written
from odl.kernels.tiling import FLAT
from odl.operators.base import Elementwise, KernelRequest
from odl.operators.lowering import Lowering, arguments, lowers

_SCALARS = tuple(Scalar(name, f"with_{name}") for name in ("slope", "scale", "rate", "limit", "shift"))
UNARY = Kernel("unary", FLAT_SHAPE, (Operand("x", "T"), written("y", "T"), *_SCALARS), (("y", "x"),), FLAT)
UNARY_GRADIENT = Kernel(
    "unary_gradient",
    FLAT_SHAPE,
    (Operand("dy", "T"), Operand("seen", "T"), written("dx", "T"), *_SCALARS[:4]),
    (("dx", "dy"), ("dx", "seen")),
    FLAT,
)


class Function(StrEnum):
    """What kernels/unary.c.j2 calls a function."""

    TANH = "tanh"
    SIGMOID = "sigmoid"
    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    HARD_SWISH = "hard_swish"
    HARD_SIGMOID = "hard_sigmoid"
    LEAKY_RELU = "leaky_relu"
    ELU = "elu"
    SOFTPLUS = "softplus"
    ABSOLUTE = "absolute"
    SIGN = "sign"
    AFFINE = "affine"


@dataclass(frozen=True)
class Facts:
    """A function's value in NumPy, and its slope by its input x or (`by_output`) by its output y.

    `scalars` are the numbers that it is given besides x, in the order of both callables' parameters. `kinked`: whether a
    check of gradients has to know on which side of a jump of the slope the device was.
    """

    value: Callable[..., Array]
    slope: Callable[..., Array] | None = None
    by_output: bool = False
    scalars: tuple[str, ...] = ()
    kinked: bool = False


def _sigmoid(x: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


def _below(x: Array) -> Array:
    """The chance that a standard normal number is below x."""
    return np.asarray(0.5 * np.vectorize(math.erfc, otypes=[np.float64])(-x / math.sqrt(2)))


def _gelu_slope(x: Array) -> Array:
    return _below(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _inner(x: Array) -> Array:
    return 2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def _gelu_tanh_slope(x: Array) -> Array:
    sigmoid = _sigmoid(_inner(x))
    inner_slope = 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    return np.asarray(sigmoid + x * sigmoid * (1 - sigmoid) * inner_slope)


def _elu(x: Array, slope: float, scale: float, rate: float) -> Array:
    return np.where(x > 0, scale * x, slope * np.expm1(rate * np.minimum(x, 0)))


def _elu_slope(y: Array, slope: float, scale: float, rate: float) -> Array:
    return np.where(y <= 0, rate * (y + slope), scale)


def _softplus(x: Array, rate: float, limit: float) -> Array:
    return np.where(rate * x > limit, x, np.logaddexp(0, rate * x) / rate)


FACTS: Mapping[Function, Facts] = {
    Function.TANH: Facts(np.tanh, lambda y: 1 - y * y, by_output=True),
    Function.SIGMOID: Facts(_sigmoid, lambda y: y * (1 - y), by_output=True),
    Function.GELU: Facts(lambda x: x * _below(x), _gelu_slope),
    Function.GELU_TANH: Facts(lambda x: x * _sigmoid(_inner(x)), _gelu_tanh_slope),
    Function.HARD_SWISH: Facts(
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        lambda x: np.where(x <= -3, 0, np.where(x < 3, x / 3 + 0.5, 1)),
        kinked=True,
    ),
    Function.HARD_SIGMOID: Facts(
        lambda x: np.clip(x + 3, 0, 6) / 6,
        lambda y: np.where((y > 0) & (y < 1), 1 / 6, 0),
        by_output=True,
        kinked=True,
    ),
    Function.LEAKY_RELU: Facts(
        lambda x, slope: np.where(x > 0, x, slope * x),
        lambda y, slope: np.where(y > 0, 1, slope),
        by_output=True,
        scalars=("slope",),
        kinked=True,
    ),
    Function.ELU: Facts(_elu, _elu_slope, by_output=True, scalars=("slope", "scale", "rate"), kinked=True),
    Function.SOFTPLUS: Facts(
        _softplus,
        lambda x, rate, limit: np.where(rate * x > limit, 1, _sigmoid(rate * x)),
        scalars=("rate", "limit"),
    ),
    Function.ABSOLUTE: Facts(np.abs),
    Function.SIGN: Facts(lambda x: (x > 0) * 1.0 - (x < 0)),
    Function.AFFINE: Facts(lambda x, scale, shift: x * scale + shift, scalars=("scale", "shift")),
}


@dataclass(frozen=True)
class _Function(Elementwise):
    """A function with the numbers that it is given; those that it does not have are 0."""

    function: Function
    slope: float = 0.0
    scale: float = 0.0
    rate: float = 0.0
    limit: float = 0.0
    shift: float = 0.0

    @property
    def facts(self) -> Facts:
        """What is known of the function."""
        return FACTS[self.function]

    @property
    def given(self) -> tuple[float, ...]:
        """The function's numbers."""
        return tuple(float(self.scalar(name)) for name in self.facts.scalars)

    @property
    @override
    def title(self) -> str:
        return "".join(word.capitalize() for word in self.function.split("_"))

    @override
    def scalar(self, name: str) -> float:
        """A number by its name; of `with_<name>` whether the function has it."""
        if name.startswith("with_"):
            return float(name.removeprefix("with_") in self.facts.scalars)
        return float(getattr(self, name))

    @override
    def specialisation(self, request: KernelRequest) -> Specialisation:
        return {"function": str(self.function)}


@dataclass(frozen=True)
class Unary(_Function):
    """y = function(x)."""

    signature: ClassVar[Kernel] = UNARY

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        return {"y": self.facts.value(x, *self.given).astype(x.dtype)}


#: What the manifest calls the functions whose slope jumps.
KINKED = frozenset(Unary(function).title for function, facts in FACTS.items() if facts.kinked)


@dataclass(frozen=True)
class UnaryGradient(_Function):
    """dx = dy times the function's slope; inputs dy and what the slope is seen by, the function's input or its output."""

    pass_name: ClassVar[str] = "input_gradient"
    signature: ClassVar[Kernel] = UNARY_GRADIENT

    @property
    @override
    def title(self) -> str:
        return f"{super().title}Gradient"

    @override
    def reference(self, *, dy: Array, seen: Array) -> dict[str, Array]:
        assert self.facts.slope is not None
        return {"dx": (dy * self.facts.slope(seen, *self.given)).astype(dy.dtype)}


_PLAIN = {
    "tanh": Function.TANH,
    "sigmoid": Function.SIGMOID,
    "hardswish": Function.HARD_SWISH,
    "hardsigmoid": Function.HARD_SIGMOID,
    "abs": Function.ABSOLUTE,
    "sgn": Function.SIGN,
}


def _emit(lowering: Lowering, node: Any, operator: Unary) -> None:
    lowering.emit(node, operator, {"x": node.args[0]}, lowering.made_of(node.args[0]))


@lowers(*(f"aten.{name}.default" for name in _PLAIN))
def lower_function(lowering: Lowering, node: Any) -> None:
    """A function without settings."""
    _emit(lowering, node, Unary(_PLAIN[str(node.target).split(".")[1]]))


@lowers("aten.gelu.default")
def lower_gelu(lowering: Lowering, node: Any) -> None:
    """gelu(x, approximate=…)."""
    _emit(lowering, node, Unary(_gelu(lowering, node)))


def _gelu(lowering: Lowering, node: Any) -> Function:
    return Function.GELU_TANH if lowering.keyword(node, "approximate", "none") == "tanh" else Function.GELU


@lowers("aten.leaky_relu.default")
def lower_leaky_relu(lowering: Lowering, node: Any) -> None:
    """leaky_relu(x, slope)."""
    (slope,) = arguments(node.args[1:], 0.01)
    _emit(lowering, node, _leaky_relu(lowering, node, slope))


def _leaky_relu(lowering: Lowering, node: Any, slope: float) -> Unary:
    if slope < 0:
        raise InputError(
            f"{lowering.where(node)}: a slope of {slope:g} is not supported; use one of at least 0"
        )
    return Unary(Function.LEAKY_RELU, slope=float(slope))


@lowers("aten.elu.default")
def lower_elu(lowering: Lowering, node: Any) -> None:
    """elu(x, alpha, scale, rate of x in the exponential); with the constants of SELU too."""
    _emit(lowering, node, _elu_of(lowering, node, *arguments(node.args[1:], 1.0, 1.0, 1.0)))


@lowers("aten.celu.default")
def lower_celu(lowering: Lowering, node: Any) -> None:
    """celu(x, alpha): ELU of which the exponential's argument is divided by alpha."""
    (alpha,) = arguments(node.args[1:], 1.0)
    _emit(lowering, node, _elu_of(lowering, node, alpha, 1.0, 1.0 / alpha))


def _elu_of(lowering: Lowering, node: Any, alpha: float, scale: float, rate: float) -> Unary:
    if not (alpha > 0 and scale > 0 and rate > 0):
        raise InputError(f"{lowering.where(node)}: alpha {alpha:g} is not supported; use one above 0")
    return Unary(Function.ELU, slope=float(alpha * scale), scale=float(scale), rate=float(rate))


@lowers("aten.softplus.default")
def lower_softplus(lowering: Lowering, node: Any) -> None:
    """softplus(x, beta, threshold)."""
    rate, limit = arguments(node.args[1:], 1.0, 20.0)
    _emit(lowering, node, Unary(Function.SOFTPLUS, rate=float(rate), limit=float(limit)))


@lowers("aten.neg.default")
def lower_negation(lowering: Lowering, node: Any) -> None:
    """-x."""
    _emit(lowering, node, scaled(-1.0))


def scaled(factor: float) -> Unary:
    """x times a number: adding -0 changes nothing, not even a zero's sign."""
    return Unary(Function.AFFINE, scale=factor, shift=-0.0)


def _emit_gradient(lowering: Lowering, node: Any, dy: Any, x: Any, forward: Unary) -> None:
    """The gradient of a function that ATen gives the input, which need not be kept where the output serves."""
    seen = lowering.name(x)
    if forward.facts.by_output:
        made = lowering.output_of(forward, {"x": seen})
        if made is None:
            raise InputError(
                f"{lowering.where(node)}: the function that this gradient belongs to was not found"
            )
        seen = made
    settings = {name: getattr(forward, name) for name in forward.facts.scalars}
    lowering.emit(node, UnaryGradient(forward.function, **settings), {"dy": dy, "seen": seen})


@lowers("aten.tanh_backward.default", "aten.sigmoid_backward.default")
def lower_backward_by_output(lowering: Lowering, node: Any) -> None:
    """The gradient of a function that ATen gives the output."""
    dy, y = node.args
    function = Function(str(node.target).split(".")[1].removesuffix("_backward"))
    lowering.emit(node, UnaryGradient(function), {"dy": dy, "seen": y})


@lowers("aten.hardswish_backward.default", "aten.hardsigmoid_backward.default", "aten.gelu_backward.default")
def lower_backward(lowering: Lowering, node: Any) -> None:
    """The gradient of a function without other settings than GELU's form."""
    dy, x = node.args
    name = str(node.target).split(".")[1].removesuffix("_backward")
    _emit_gradient(lowering, node, dy, x, Unary(_PLAIN.get(name) or _gelu(lowering, node)))


@lowers("aten.leaky_relu_backward.default")
def lower_leaky_relu_backward(lowering: Lowering, node: Any) -> None:
    """leaky_relu_backward(dy, x, slope, whether x is the output)."""
    dy, x, slope, _ = node.args
    _emit_gradient(lowering, node, dy, x, _leaky_relu(lowering, node, slope))


@lowers("aten.elu_backward.default")
def lower_elu_backward(lowering: Lowering, node: Any) -> None:
    """elu_backward(dy, alpha, scale, rate, whether x is the output, x)."""
    dy, alpha, scale, rate, _, x = node.args
    _emit_gradient(lowering, node, dy, x, _elu_of(lowering, node, alpha, scale, rate))


@lowers("aten.softplus_backward.default")
def lower_softplus_backward(lowering: Lowering, node: Any) -> None:
    """softplus_backward(dy, x, beta, threshold)."""
    dy, x, rate, limit = node.args
    _emit_gradient(lowering, node, dy, x, Unary(Function.SOFTPLUS, rate=float(rate), limit=float(limit)))
