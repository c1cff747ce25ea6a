"""Batch normalisation in training mode (batch statistics) and frozen (running statistics), and its gradient.

Ioffe and Szegedy 2015 (arXiv 1502.03167), algorithm 1; running statistics as PyTorch keeps them.
Shapes: x [N,C,…]; gamma, beta, running mean and variance [C].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.errors import InputError, option
from odl.graph.ir import DType, Role, Value
from odl.graph.operator import Array, Shape
from odl.kernels.call import KernelCall, Number
from odl.kernels.signature import CHANNEL_SHAPE, Direction, Kernel, Operand, Scalar, Specialisation
from odl.kernels.tiling import CHANNELS
from odl.operators.base import INFINITY, KernelRequest, Operator, clamp
from odl.operators.lowering import Lowering, lowers
from odl.operators.shape import Reshape

_AFFINE = (Operand("x", "T"), Operand("gamma", "P"), Operand("beta", "P"))
_Y = Operand("y", "T", Direction.WRITE)
_LIMITS = (Scalar("low"), Scalar("high"))
BATCH_NORM_TRAIN = Kernel(
    "batch_norm_train",
    CHANNEL_SHAPE,
    (
        *_AFFINE,
        Operand("running_mean", "f32", Direction.UPDATE),
        Operand("running_var", "f32", Direction.UPDATE),
        _Y,
        Operand("mean", "f32", Direction.WRITE),
        Operand("invstd", "f32", Direction.WRITE),
        Scalar("momentum"),
        Scalar("eps"),
        *_LIMITS,
    ),
    (("y", "x"),),
    CHANNELS,
)
BATCH_NORM_FROZEN = Kernel(
    "batch_norm_frozen",
    CHANNEL_SHAPE,
    (*_AFFINE, Operand("mean", "f32"), Operand("var", "f32"), _Y, Scalar("eps"), *_LIMITS),
    (("y", "x"),),
    CHANNELS,
)
_READ = (Operand("dy", "T"), Operand("x", "T"), Operand("gamma", "P"), Operand("mean", "f32"))
_GRADIENTS = (
    Operand("dx", "T", Direction.WRITE, optional=True),
    Operand("dgamma", "G", Direction.WRITE, optional=True, updated_with="accumulate"),
    Operand("dbeta", "G", Direction.WRITE, optional=True, updated_with="accumulate"),
)
BATCH_NORM_TRAIN_GRADIENT = Kernel(
    "batch_norm_train_gradient",
    CHANNEL_SHAPE,
    (*_READ, Operand("invstd", "f32"), *_GRADIENTS),
    (("dx", "dy"),),
    CHANNELS,
)
BATCH_NORM_FROZEN_GRADIENT = Kernel(
    "batch_norm_frozen_gradient",
    CHANNEL_SHAPE,
    (*_READ, Operand("var", "f32"), *_GRADIENTS, Scalar("eps")),
    (("dx", "dy"),),
    CHANNELS,
)


def _per_channel(values: Array, rank: int) -> Array:
    return values.reshape((1, -1) + (1,) * (rank - 2))


def _axes(rank: int) -> tuple[int, ...]:
    return tuple(axis for axis in range(rank) if axis != 1)


def _channels(value: Value) -> dict[str, int]:
    return {"pixels": value.count // value.shape[1], "channels": value.shape[1]}


@dataclass(frozen=True)
class BatchNorm(Operator):
    """y = clamp((x - mean) gamma / sqrt(var + eps) + beta); inputs x, gamma, beta, running mean, running variance.

    In training mode the outputs are y, the batch's mean and 1/sqrt(var + eps), and the running statistics are
    updated in place; frozen, the only output is y.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "gamma", "beta", "mean", "variance")
    outputs: ClassVar[tuple[str, ...]] = ("y", "batch_mean", "batch_inverse_deviation")
    eps: float
    momentum: float
    training: bool
    low: float = -INFINITY
    high: float = INFINITY

    @property
    @override
    def signature(self) -> Kernel:
        return BATCH_NORM_TRAIN if self.training else BATCH_NORM_FROZEN

    @property
    @override
    def operand_names(self) -> Mapping[str, str]:
        if not self.training:
            return {"var": "variance"}
        statistics = {"running_mean": "mean", "running_var": "variance"}
        return {**statistics, "mean": "batch_mean", "invstd": "batch_inverse_deviation"}

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        x = inputs["x"]
        if self.training and int(np.prod(x)) == x[1]:
            raise ValueError(
                "batch norm in training mode needs more than one value per channel; "
                f"use {option('bn', 'fold', 'frozen')}, or a batch of at least 2"
            )
        saved = {"batch_mean": (x[1],), "batch_inverse_deviation": (x[1],)} if self.training else {}
        return {"y": x, **saved}

    @override
    def reference(
        self, *, x: Array, gamma: Array, beta: Array, mean: Array, variance: Array
    ) -> dict[str, Array]:
        """Updates the running statistics it is given in place when training."""
        batch_mean, batch_variance = mean, variance
        if self.training:
            batch_mean, batch_variance = x.mean(axis=_axes(x.ndim)), x.var(axis=_axes(x.ndim))
            count = x.size // x.shape[1]
            mean += self.momentum * (batch_mean - mean)
            variance += self.momentum * (batch_variance * count / (count - 1) - variance)
        inverse = 1.0 / np.sqrt(batch_variance + self.eps)
        y = (x - _per_channel(batch_mean, x.ndim)) * _per_channel(inverse * gamma, x.ndim)
        y = clamp(y + _per_channel(beta, x.ndim), self.low, self.high)
        saved = {"batch_mean": batch_mean, "batch_inverse_deviation": inverse} if self.training else {}
        return {"y": y, **saved}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        x = request.present("x")
        context = {"T": x.dtype, "P": request.present("gamma").dtype}
        scalars = {"eps": Number(self.eps), "low": Number(self.low), "high": Number(self.high)}
        if self.training:
            scalars["momentum"] = Number(self.momentum)
        return self.call(request, context, _channels(x), scalars)


@dataclass(frozen=True)
class BatchNormGradient(Operator):
    """dx, dgamma, dbeta; inputs dy, x, gamma, mean, and 1/sqrt(var + eps) (training) or the running variance."""

    inputs: ClassVar[tuple[str, ...]] = ("dy", "x", "gamma", "mean", "spread")
    outputs: ClassVar[tuple[str, ...]] = ("dx", "dgamma", "dbeta")
    pass_name: ClassVar[str] = "input_gradient"
    eps: float
    training: bool
    wanted: tuple[bool, bool, bool]

    @property
    @override
    def signature(self) -> Kernel:
        return BATCH_NORM_TRAIN_GRADIENT if self.training else BATCH_NORM_FROZEN_GRADIENT

    @property
    @override
    def operand_names(self) -> Mapping[str, str]:
        return {"invstd" if self.training else "var": "spread"}

    @property
    def _wanted_names(self) -> list[str]:
        return [name for name, wanted in zip(self.outputs, self.wanted, strict=True) if wanted]

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        x = inputs["x"]
        every = {"dx": x, "dgamma": (x[1],), "dbeta": (x[1],)}
        return {name: shape for name, shape in every.items() if name in self._wanted_names}

    @override
    def reference(self, *, dy: Array, x: Array, gamma: Array, mean: Array, spread: Array) -> dict[str, Array]:
        """The closed forms of PyTorch's native_batch_norm_backward."""
        inverse = spread if self.training else 1.0 / np.sqrt(spread + self.eps)
        normal = (x - _per_channel(mean, x.ndim)) * _per_channel(inverse, x.ndim)
        dbeta, dgamma = dy.sum(axis=_axes(x.ndim)), (dy * normal).sum(axis=_axes(x.ndim))
        dx = dy
        if self.training:
            count = x.size // x.shape[1]
            dx = dy - _per_channel(dbeta / count, x.ndim) - normal * _per_channel(dgamma / count, x.ndim)
        dx = dx * _per_channel(gamma * inverse, x.ndim)
        every = {"dx": dx, "dgamma": dgamma, "dbeta": dbeta}
        return {name: value for name, value in every.items() if name in self._wanted_names}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        x = request.present("x")
        gradients = (request.outputs.get(name) for name in ("dgamma", "dbeta"))
        context: Specialisation = {
            "T": x.dtype,
            "P": request.present("gamma").dtype,
            "G": next((value.dtype for value in gradients if value is not None), DType.F32),
            "accumulate": request.accumulate,
        }
        return self.call(request, context, _channels(x), {} if self.training else {"eps": Number(self.eps)})


def _as_image(lowering: Lowering, node: Any, operand: Any) -> str:
    """The operand as the kernels take it: rows [N,C] or images [N,C,H,W], all axes behind the channels as one."""
    shape = lowering.shape(operand)
    image = shape if len(shape) in (2, 4) else (*shape[:2], math.prod(shape[2:]), 1)
    return _reshaped(lowering, node, lowering.name(operand), image)


def _reshaped(lowering: Lowering, node: Any, name: str, shape: Shape) -> str:
    """The value, or a view of it, in that shape."""
    if lowering.values[name].shape == shape:
        return name
    role = lowering.values[name].role
    role = Role.ACTIVATION if role is Role.INPUT else role
    return lowering.add(node, Reshape(shape), {"x": name}, role)["y"]


@lowers(
    "aten._native_batch_norm_legit_functional.default",
    "aten._native_batch_norm_legit_no_training.default",
    "aten._native_batch_norm_legit.default",
    "aten.native_batch_norm.default",
)
def lower_batch_norm(lowering: Lowering, node: Any) -> None:
    """Either mode; the results are y, batch mean, batch 1/sqrt(var + eps), new running mean and variance."""
    x, gamma, beta, mean, variance = node.args[:5]
    if gamma is None or beta is None:
        raise InputError(
            f"{lowering.where(node)}: batch norm without affine parameters is not supported; affine=True begins with a "
            "weight of 1 and a bias of 0, which compute the same"
        )
    if "no_training" in str(node.target):
        training, (momentum, eps) = False, node.args[5:7]
    else:
        training, momentum, eps = node.args[5:8]
    gamma, beta = lowering.parameter(node, gamma), lowering.parameter(node, beta)
    names = {"x": _as_image(lowering, node, x), "gamma": gamma, "beta": beta}
    statistics = {"mean": lowering.name(mean), "variance": lowering.name(variance)}
    operator = BatchNorm(float(eps), float(momentum), bool(training))
    outputs = lowering.add(node, operator, names | statistics, Role.ACTIVATION)
    saved = [outputs.get(name) for name in ("batch_mean", "batch_inverse_deviation")]
    for name in saved:
        if name is not None:
            lowering.save(name, DType.F32)
    y = _reshaped(lowering, node, outputs["y"], lowering.shape(x))
    lowering.set_tuple(node, (y, *saved, *statistics.values()))


@lowers("aten._native_batch_norm_legit.no_stats")
def lower_batch_norm_without_statistics(lowering: Lowering, node: Any) -> None:
    """Refused: inference would depend on what else is in the batch."""
    raise InputError(
        f"{lowering.where(node)}: normalisation by each batch's or sample's own statistics is not supported; batch "
        "norm with track_running_stats=True is"
    )


@lowers("aten.native_batch_norm_backward.default")
def lower_batch_norm_backward(lowering: Lowering, node: Any) -> None:
    """native_batch_norm_backward(dy, x, gamma, mean, var, saved mean, saved invstd, train, eps, wanted)."""
    dy, x, gamma, mean, variance, saved_mean, saved_inverse, training, eps, wanted = node.args
    first, second = (saved_mean, saved_inverse) if training else (mean, variance)
    first_wanted, second_wanted, third_wanted = (bool(item) for item in wanted)
    operator = BatchNormGradient(float(eps), bool(training), (first_wanted, second_wanted, third_wanted))
    images = {"dy": _as_image(lowering, node, dy), "x": _as_image(lowering, node, x)}
    given = {"gamma": gamma, "mean": first, "spread": second}
    inputs = images | {name: lowering.name(item) for name, item in given.items()}
    outputs = lowering.add(node, operator, inputs, Role.GRADIENT)
    for name in ("dgamma", "dbeta"):
        if name in outputs:
            lowering.give_role(outputs[name], Role.PARAMETER_GRADIENT)
    dx = _reshaped(lowering, node, outputs["dx"], lowering.shape(x)) if "dx" in outputs else None
    lowering.set_tuple(node, [dx, outputs.get("dgamma"), outputs.get("dbeta")])
