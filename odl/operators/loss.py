"""Losses with their gradient in one operator: softmax cross-entropy with soft labels, and mean squared error.

Each takes the model's output, a target of the same shape and one weight per sample, and gives the mean loss and the
gradient with respect to the output times the loss scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from odl.errors import InputError
from odl.graph.ir import DType, Role, Value
from odl.operators.base import Array, KernelCall, KernelRequest, Operator, Runtime, Shape, Tensor
from odl.trace.lowering import Lowering, lowers


def _softmax_parts(logits: Array) -> tuple[Array, Array]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logarithm = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.exp(logarithm), logarithm


def _loss_call(template: str, request: KernelRequest, shape_type: str, shape: dict[str, int]) -> KernelCall:
    return KernelCall(
        template=template,
        context={"T": request.input(0).dtype},
        shape_type=shape_type,
        shape=shape,
        arguments=(
            *(request.tensor(index) for index in range(3)),
            *(Tensor(value.name) for value in request.outputs),
            Runtime("loss_scale"),
        ),
    )


@dataclass(frozen=True)
class CrossEntropy(Operator):
    """loss = mean_n weight_n (-sum_c target log softmax); inputs logits, target, sample weight [N]."""

    inputs: ClassVar[tuple[str, ...]] = ("logits", "target", "sample_weight")
    outputs: ClassVar[tuple[str, ...]] = ("loss", "dlogits")

    def shapes(self, inputs: Sequence[Shape | None]) -> tuple[Shape, ...]:
        """One loss, and the logits' gradient."""
        logits = inputs[0]
        assert logits is not None
        if len(logits) != 2:
            raise ValueError(f"cross-entropy takes logits [batch, classes], got {len(logits)} dimensions")
        return ((1,), logits)

    def reference(self, *inputs: Array | None) -> tuple[Array, ...]:
        """Loss scale 1."""
        logits, target, weight = inputs
        assert logits is not None and target is not None and weight is not None
        softmax, logarithm = _softmax_parts(logits)
        loss = (weight * -(target * logarithm).sum(axis=1)).mean()
        gradient = softmax * target.sum(axis=1, keepdims=True) - target
        return np.array([loss]), gradient * weight[:, None] / len(logits)

    def kernel(self, request: KernelRequest) -> KernelCall:
        """cross_entropy."""
        batch, classes = request.input(0).shape
        shape = {"batch": batch, "classes": classes}
        return _loss_call("cross_entropy", request, "odl_classes_shape", shape)


@dataclass(frozen=True)
class MeanSquaredError(Operator):
    """loss = mean over all elements of weight_n (prediction - target)²; inputs prediction, target, weight [N]."""

    inputs: ClassVar[tuple[str, ...]] = ("prediction", "target", "sample_weight")
    outputs: ClassVar[tuple[str, ...]] = ("loss", "dprediction")

    def shapes(self, inputs: Sequence[Shape | None]) -> tuple[Shape, ...]:
        """One loss, and the prediction's gradient."""
        assert inputs[0] is not None
        return ((1,), inputs[0])

    def reference(self, *inputs: Array | None) -> tuple[Array, ...]:
        """Loss scale 1."""
        prediction, target, weight = inputs
        assert prediction is not None and target is not None and weight is not None
        error = prediction - target
        weight = weight.reshape((-1,) + (1,) * (prediction.ndim - 1))
        return np.array([(weight * error**2).mean()]), 2 * weight * error / prediction.size

    def kernel(self, request: KernelRequest) -> KernelCall:
        """mean_squared_error."""
        prediction = request.input(0)
        batch = prediction.shape[0]
        shape = {"batch": batch, "classes": prediction.count // batch}
        return _loss_call("mean_squared_error", request, "odl_classes_shape", shape)


def _lower_loss(lowering: Lowering, node: Any, operator: Operator) -> None:
    output = lowering.name(node.meta["model_output"])
    model_output = lowering.values[output]
    target = next((value for value in lowering.values.values() if value.role is Role.TARGET), None)
    if target is None:
        raise InputError(
            f"{lowering.where(node)}: a loss inside the model is not supported; odl adds the loss"
        )
    if target.layout is not model_output.layout:
        raise InputError(f"{lowering.where(node)}: the target's layout does not match the model's output")
    names = ("loss", "output_gradient")
    loss, gradient = lowering.add(
        node, operator, (output, target.name, "sample_weight"), Role.GRADIENT, names
    )
    lowering.values[loss] = Value(loss, (1,), Role.LOSS, DType.F32)
    lowering.set(node, gradient)


@lowers("aten._log_softmax_backward_data.default")
def lower_cross_entropy(lowering: Lowering, node: Any) -> None:
    """Softmax, negative log-likelihood and their gradient."""
    _lower_loss(lowering, node, CrossEntropy())


@lowers("aten.mse_loss_backward.default")
def lower_mean_squared_error(lowering: Lowering, node: Any) -> None:
    """Mean squared error and its gradient."""
    _lower_loss(lowering, node, MeanSquaredError())
