"""Losses with their gradient in one operator: softmax cross-entropy with soft labels, and mean squared error.

Each takes the model's output, a target of the same shape and one weight per sample, and gives the mean loss and the
gradient with respect to the output times the loss scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from odl.errors import InputError
from odl.graph import Array, DType, Role, Shape, Value
from odl.kernels.call import Runtime
from odl.kernels.signature import Kernel, Operand, Scalar, ShapeStruct, written
from odl.operators.base import Operator
from odl.operators.lowering import Lowering, lowers


def _softmax_parts(logits: Array) -> tuple[Array, Array]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logarithm = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.exp(logarithm), logarithm


CLASSES_SHAPE = ShapeStruct("odl_classes_shape", ("batch", "classes"))


def _loss_kernel(template: str, output: str) -> Kernel:
    """A loss takes what the model gives, and gives the gradient with respect to it."""
    return Kernel(
        template,
        CLASSES_SHAPE,
        (
            Operand(output, "T"),
            Operand("target", "f32"),
            Operand("weight", "f32"),
            written("loss", "f32"),
            written(f"d{output}", "T"),
            Scalar("loss_scale"),
        ),
    )


CROSS_ENTROPY = _loss_kernel("cross_entropy", "logits")
MEAN_SQUARED_ERROR = _loss_kernel("mean_squared_error", "prediction")


class _Loss(Operator):
    operand_names: ClassVar[Mapping[str, str]] = {"weight": "sample_weight"}
    loss_scale: ClassVar[Runtime] = Runtime("loss_scale")

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        scalar, gradient = self.outputs
        return {scalar: (1,), gradient: inputs[self.inputs[0]]}


@dataclass(frozen=True)
class CrossEntropy(_Loss):
    """loss = mean_n weight_n (-sum_c target log softmax); inputs logits, target, sample weight [N]."""

    signature: ClassVar[Kernel] = CROSS_ENTROPY

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        rank = len(inputs["logits"])
        if rank != 2:
            raise ValueError(f"cross-entropy takes logits [batch, classes], got {rank} dimensions")
        return super().shapes(inputs)

    @override
    def reference(self, *, logits: Array, target: Array, sample_weight: Array) -> dict[str, Array]:
        """With a loss scale of 1."""
        softmax, logarithm = _softmax_parts(logits)
        loss = (sample_weight * -(target * logarithm).sum(axis=1)).mean()
        gradient = softmax * target.sum(axis=1, keepdims=True) - target
        return {"loss": np.array([loss]), "dlogits": gradient * sample_weight[:, None] / len(logits)}


@dataclass(frozen=True)
class MeanSquaredError(_Loss):
    """loss = mean over all elements of weight_n (prediction - target)²; inputs prediction, target, weight [N]."""

    signature: ClassVar[Kernel] = MEAN_SQUARED_ERROR

    @override
    def reference(self, *, prediction: Array, target: Array, sample_weight: Array) -> dict[str, Array]:
        """With a loss scale of 1."""
        error = prediction - target
        weight = sample_weight.reshape((-1,) + (1,) * (prediction.ndim - 1))
        loss = np.array([(weight * error**2).mean()])
        return {"loss": loss, "dprediction": 2 * weight * error / prediction.size}


def _lower_loss(lowering: Lowering, node: Any, operator: Operator, predicted: str) -> None:
    """Add the loss, whose input `predicted` is the model's output and whose output d`predicted` its gradient."""
    output = lowering.name(node.meta["model_output"])
    model_output = lowering.values[output]
    given = {value.role: value for value in lowering.values.values() if value.role.from_caller}
    target = given.get(Role.TARGET)
    if target is None:
        raise InputError(
            f"{lowering.where(node)}: a loss inside the model is not supported; odl adds the loss"
        )
    if target.layout is not model_output.layout:
        raise InputError(f"{lowering.where(node)}: the target's layout does not match the model's output")
    gradient = f"d{predicted}"
    inputs = {predicted: output, "target": target.name, "sample_weight": given[Role.SAMPLE_WEIGHT].name}
    called = {"loss": "loss", gradient: "output_gradient"}
    names = lowering.add(node, operator, inputs, Role.GRADIENT, called)
    lowering.values[names["loss"]] = Value(names["loss"], (1,), Role.LOSS, DType.F32)
    lowering.set(node, names[gradient])


@lowers("aten._log_softmax_backward_data.default")
def lower_cross_entropy(lowering: Lowering, node: Any) -> None:
    """Softmax, negative log-likelihood and their gradient."""
    _lower_loss(lowering, node, CrossEntropy(), "logits")


@lowers("aten.mse_loss_backward.default")
def lower_mean_squared_error(lowering: Lowering, node: Any) -> None:
    """Mean squared error and its gradient."""
    _lower_loss(lowering, node, MeanSquaredError(), "prediction")
