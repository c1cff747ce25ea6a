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
from odl.graph import Array, DType, Role, Shape
from odl.kernels.signature import CHANNEL_SHAPE, Kernel, Operand, Scalar, updated, written
from odl.kernels.tiling import CHANNELS
from odl.operators.base import INFINITY, LIMITS, Operator, clamp
from odl.operators.lowering import Lowering, lowers
from odl.operators.shape import Reshape

_AFFINE = (Operand("x", "T"), Operand("gamma", "P"), Operand("beta", "P"))
BATCH_NORM_TRAIN = Kernel(
    "batch_norm_train",
    CHANNEL_SHAPE,
    (
        *_AFFINE,
        updated("running_mean", "f32"),
        updated("running_var", "f32"),
        written("y", "T"),
        written("mean", "f32"),
        written("invstd", "f32"),
        Scalar("momentum"),
        Scalar("eps"),
        *LIMITS,
    ),
    (("y", "x"),),
    CHANNELS,
)
BATCH_NORM_FROZEN = Kernel(
    "batch_norm_frozen",
    CHANNEL_SHAPE,
    (*_AFFINE, Operand("mean", "f32"), Operand("var", "f32"), written("y", "T"), Scalar("eps"), *LIMITS),
    (("y", "x"),),
    CHANNELS,
)


def _gradient_kernel(template: str, spread: str, *scalars: Scalar) -> Kernel:
    """A gradient's kernel; it reads how far values are spread as `spread`."""
    read = (Operand("dy", "T"), Operand("x", "T"), Operand("gamma", "P"), Operand("mean", "f32"))
    sums = (written(name, "G", optional=True, updated_with="accumulate") for name in ("dgamma", "dbeta"))
    operands = (*read, Operand(spread, "f32"), written("dx", "T", optional=True), *sums)
    return Kernel(template, CHANNEL_SHAPE, (*operands, *scalars), (("dx", "dy"),), CHANNELS)


BATCH_NORM_TRAIN_GRADIENT = _gradient_kernel("batch_norm_train_gradient", "invstd")
BATCH_NORM_FROZEN_GRADIENT = _gradient_kernel("batch_norm_frozen_gradient", "var", Scalar("eps"))


def _per_channel(values: Array, rank: int) -> Array:
    return values.reshape((1, -1) + (1,) * (rank - 2))


def _axes(rank: int) -> tuple[int, ...]:
    return tuple(axis for axis in range(rank) if axis != 1)


@dataclass(frozen=True)
class BatchNorm(Operator):
    """y = clamp((x - mean) gamma / sqrt(var + eps) + beta); inputs x, gamma, beta, running mean, running variance.

    In training mode the outputs are y, the batch's mean and 1/sqrt(var + eps), and the running statistics are
    updated in place; frozen, the only output is y.
    """

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
        return {name: x if name == "y" else (x[1],) for name in self.outputs}

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


@dataclass(frozen=True)
class BatchNormGradient(Operator):
    """Those of dx, dgamma, dbeta that are wanted.

    Inputs dy, x, gamma, mean, and 1/sqrt(var + eps) (training) or the running variance.
    """

    pass_name: ClassVar[str] = "input_gradient"
    eps: float
    training: bool
    wanted: tuple[str, ...]

    @property
    @override
    def signature(self) -> Kernel:
        return BATCH_NORM_TRAIN_GRADIENT if self.training else BATCH_NORM_FROZEN_GRADIENT

    @property
    @override
    def operand_names(self) -> Mapping[str, str]:
        return {"invstd" if self.training else "var": "spread"}

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        x = inputs["x"]
        return {name: x if name == "dx" else (x[1],) for name in self.wanted}

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
        return {name: every[name] for name in self.wanted}


def _as_image(lowering: Lowering, node: Any, operand: Any) -> str:
    """The operand as the kernels take it: rows, sequences or images; of more axes, those behind the channels are one."""
    shape = lowering.shape(operand)
    image = shape if len(shape) <= 4 else (*shape[:2], math.prod(shape[2:]), 1)
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
    affine = {"gamma": lowering.parameter(node, gamma), "beta": lowering.parameter(node, beta)}
    given = {"x": _as_image(lowering, node, x), **affine}
    statistics = {"mean": lowering.name(mean), "variance": lowering.name(variance)}
    operator = BatchNorm(float(eps), float(momentum), bool(training))
    outputs = lowering.add(node, operator, {**given, **statistics})
    saved = [outputs.get(name) for name in ("batch_mean", "batch_inverse_deviation")]
    for name in filter(None, saved):
        lowering.save(name, DType.F32)
    y = _reshaped(lowering, node, outputs["y"], lowering.shape(x))
    lowering.set(node, (y, *saved, *statistics.values()))


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
    gradients = ("dx", "dgamma", "dbeta")
    names = tuple(name for name, is_wanted in zip(gradients, wanted, strict=True) if is_wanted)
    operator = BatchNormGradient(float(eps), bool(training), names)
    images = {"dy": _as_image(lowering, node, dy), "x": _as_image(lowering, node, x)}
    given = {"gamma": gamma, "mean": first, "spread": second}
    outputs = lowering.add(node, operator, {**images, **given})
    for name in outputs.keys() - {"dx"}:
        lowering.give_role(outputs[name], Role.PARAMETER_GRADIENT)
    dx = _reshaped(lowering, node, outputs["dx"], lowering.shape(x)) if "dx" in outputs else None
    lowering.set(node, (dx, outputs.get("dgamma"), outputs.get("dbeta")))
