"""Optimizer updates, one node per parameter, and the casts and sums around them.

torch.optim.SGD and torch.optim.Adam define the arithmetic; it runs in fp32 and rounds once at the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from odl.graph.ir import Value
from odl.operators.base import (
    Argument,
    Array,
    KernelCall,
    KernelRequest,
    Number,
    Operator,
    Runtime,
    Shape,
    Tensor,
)
from odl.operators.tiling import FLAT


def _flat(value: Value) -> dict[str, int]:
    return {"count": value.count}


@dataclass(frozen=True)
class _Update(Operator):
    """Inputs: parameter, gradient, fp16 working copy or None, then the optimizer's state."""

    updated_inputs: ClassVar[tuple[int, ...]] = (0, 2, 3, 4)

    @property
    def pass_name(self) -> str:
        """Optimizer."""
        return "update"

    def shapes(self, inputs: Sequence[Shape | None]) -> tuple[Shape, ...]:
        """Nothing new: all is in place."""
        return ()

    def _call(
        self,
        template: str,
        request: KernelRequest,
        context: Mapping[str, object],
        arguments: tuple[Argument, ...],
    ) -> KernelCall:
        parameter, copy = request.input(0), request.inputs[2]
        tensors = [Tensor(parameter.name)]
        if copy is not None:
            tensors.append(Tensor(copy.name))
        tensors.append(request.tensor(1))
        return KernelCall(
            template=template,
            context={
                "W": parameter.dtype,
                "C": "none" if copy is None else copy.dtype,
                "G": request.input(1).dtype,
                **context,
            },
            shape_type="odl_flat_shape",
            shape=_flat(parameter),
            arguments=(*tensors, *arguments),
            tiling=FLAT,
        )


@dataclass(frozen=True)
class SgdUpdate(_Update):
    """g = g factor + weight_decay w; buf = momentum buf + g; w -= lr buf; inputs w, g, copy, buf or None."""

    inputs: ClassVar[tuple[str, ...]] = ("parameter", "gradient", "copy", "momentum_buffer")
    outputs: ClassVar[tuple[str, ...]] = ()
    momentum: float = 0.0
    weight_decay: float = 0.0

    def reference(self, *inputs: Array | None) -> tuple[Array, ...]:
        """None: an update is done in place, with a learning rate that only the running network knows."""
        raise TypeError("an update has no value; torch.optim is its reference (odl.check.reference)")

    def kernel(self, request: KernelRequest) -> KernelCall:
        """sgd."""
        buffer = request.inputs[3]
        context: dict[str, object] = {
            "momentum": self.momentum != 0.0,
            "weight_decay": self.weight_decay != 0.0,
            "M": "none" if buffer is None else buffer.dtype,
        }
        arguments: list[Argument] = [] if buffer is None else [Tensor(buffer.name)]
        arguments += [Runtime("learning_rate"), Runtime("gradient_factor")]
        if self.momentum:
            arguments.append(Number(self.momentum))
        if self.weight_decay:
            arguments.append(Number(self.weight_decay))
        return self._call("sgd", request, context, tuple(arguments))


@dataclass(frozen=True)
class AdamUpdate(_Update):
    """Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1; inputs w, g, copy, first and second moment."""

    inputs: ClassVar[tuple[str, ...]] = ("parameter", "gradient", "copy", "exp_avg", "exp_avg_sq")
    outputs: ClassVar[tuple[str, ...]] = ()
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def reference(self, *inputs: Array | None) -> tuple[Array, ...]:
        """None: an update is done in place, with a learning rate that only the running network knows."""
        raise TypeError("an update has no value; torch.optim is its reference (odl.check.reference)")

    def kernel(self, request: KernelRequest) -> KernelCall:
        """adam."""
        arguments: list[Argument] = [request.tensor(3), request.tensor(4)]
        arguments += [Runtime("learning_rate"), Runtime("gradient_factor")]
        arguments += [Number(1 - self.beta1), Number(1 - self.beta2), Number(self.eps)]
        arguments += [Runtime("bias_correction1"), Runtime("bias_correction2")]
        context: dict[str, object] = {"weight_decay": self.weight_decay != 0.0}
        if self.weight_decay:
            arguments.append(Number(self.weight_decay))
        return self._call("adam", request, context, tuple(arguments))


@dataclass(frozen=True)
class Refresh(Operator):
    """Round a master weight into its working copy; inputs master, copy (written in place)."""

    inputs: ClassVar[tuple[str, ...]] = ("parameter", "copy")
    outputs: ClassVar[tuple[str, ...]] = ()
    updated_inputs: ClassVar[tuple[int, ...]] = (1,)

    @property
    def pass_name(self) -> str:
        """Optimizer."""
        return "update"

    def shapes(self, inputs: Sequence[Shape | None]) -> tuple[Shape, ...]:
        """Nothing new."""
        return ()

    def reference(self, *inputs: Array | None) -> tuple[Array, ...]:
        """No value of its own."""
        return ()

    def kernel(self, request: KernelRequest) -> KernelCall:
        """cast."""
        master, copy = request.input(0), request.input(1)
        return KernelCall(
            template="cast",
            context={"S": master.dtype, "D": copy.dtype},
            shape_type="odl_flat_shape",
            shape=_flat(master),
            arguments=(Tensor(master.name), Tensor(copy.name)),
            tiling=FLAT,
        )


@dataclass(frozen=True)
class Clear(Operator):
    """Set a gradient accumulator to zero; input the accumulator (written in place)."""

    inputs: ClassVar[tuple[str, ...]] = ("accumulator",)
    outputs: ClassVar[tuple[str, ...]] = ()
    updated_inputs: ClassVar[tuple[int, ...]] = (0,)

    @property
    def pass_name(self) -> str:
        """Optimizer."""
        return "update"

    def shapes(self, inputs: Sequence[Shape | None]) -> tuple[Shape, ...]:
        """Nothing new."""
        return ()

    def reference(self, *inputs: Array | None) -> tuple[Array, ...]:
        """No value of its own."""
        return ()

    def kernel(self, request: KernelRequest) -> KernelCall:
        """fill."""
        target = request.input(0)
        return KernelCall(
            template="fill",
            context={"T": target.dtype},
            shape_type="odl_flat_shape",
            shape=_flat(target),
            arguments=(Tensor(target.name), Number(0.0)),
            tiling=FLAT,
        )
