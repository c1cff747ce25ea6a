"""What an operator states about itself: shape rule, MAC count, NumPy reference and the kernel that serves it.

An operator is a frozen dataclass of attributes. Its file also says which ATen operators lower to it
(`odl.operators.lowering.lowers`), so that adding an operator touches this folder, kernels/ and tests/ only.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from odl.graph import AbstractOperator, Array, InPlace, Layout, Shape, Value
from odl.kernels.call import Argument, KernelCall, Number, Runtime, Tensor, Variant
from odl.kernels.signature import Kernel, Operand, Scalar, Specialisation

INFINITY = math.inf
#: The scalars of a kernel that clamps, or that masks a gradient where its activation clamped.
LIMITS = (Scalar("low"), Scalar("high"))


@dataclass(frozen=True)
class KernelRequest:
    """What an operator may know when it picks its kernel: its tensors by name, the cores and the way sums are carried.

    An absent input or output has no entry.
    """

    inputs: Mapping[str, Value]
    outputs: Mapping[str, Value]
    cores: int
    chunk: int | None
    accumulate: bool = False

    def value(self, name: str) -> Value | None:
        """The output or input of that name, None when it is absent."""
        return self.outputs.get(name) or self.inputs.get(name)

    def present(self, name: str) -> Value:
        """The input or output of that name, which must be there."""
        value = self.value(name)
        assert value is not None
        return value


class Operator(AbstractOperator):
    """Base of all operators.

    Inputs, outputs and the call of the kernel follow from its signature. A subclass states what is particular: the shape
    rule, the reference, a scalar as the attribute of its name, `sizes` and `specialisation` where the tensors do not say.
    """

    @property
    def signature(self) -> Kernel | None:
        """The kernel that serves the operator; None where nothing has to run."""
        return None

    @property
    def operand_names(self) -> Mapping[str, str]:
        """Inputs and outputs by the kernel's names of them, where these differ from the operator's."""
        return {}

    @property
    @override
    def inputs(self) -> tuple[str, ...]:
        return tuple(self._name(operand.name) for operand in self._operands if operand.reads({}))

    @property
    @override
    def outputs(self) -> tuple[str, ...]:
        return tuple(self._name(operand.name) for operand in self._operands if not operand.reads({}))

    @property
    @override
    def optional(self) -> tuple[str, ...]:
        may_miss = {self._name(item.name) for item in self._operands if item.optional or item.only_with}
        return tuple(name for name in self.inputs if name in may_miss)

    @property
    @override
    def updated(self) -> tuple[str, ...]:
        written = {self._name(operand.name) for operand in self._operands if operand.written}
        return tuple(name for name in self.inputs if name in written)

    @property
    @override
    def in_place(self) -> tuple[InPlace, ...]:
        pairs = () if self.signature is None else self.signature.may_overlap
        named = (InPlace(self._name(written), self._name(read)) for written, read in pairs)
        return tuple(pair for pair in named if pair.output in self.outputs)

    @property
    def _operands(self) -> tuple[Operand, ...]:
        return () if self.signature is None else self.signature.every_operand

    def _name(self, operand: str) -> str:
        return self.operand_names.get(operand, operand)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Ways to compute the call, of which the first holds until one is measured to be faster."""
        return ()

    def scalar(self, name: str) -> float | Runtime:
        """A scalar of the kernel: the attribute of that name."""
        value: float | Runtime = getattr(self, name)
        return value

    def sizes(self, request: KernelRequest) -> Mapping[str, int]:
        """Sizes from which the kernel's shape struct takes its fields: those of the first operand."""
        given = (request.value(self._name(operand.name)) for operand in self._operands)
        return sizes_of(next(value.shape for value in given if value is not None))

    def specialisation(self, request: KernelRequest) -> Specialisation:
        """Entries of the specialisation besides types of operands, switches of parameters and the first variant."""
        return {}

    def kernel(self, request: KernelRequest) -> KernelCall | None:
        """The operator's kernel called on its tensors, NULL where one is absent; None when nothing has to run (a view)."""
        kernel = self.signature
        if kernel is None:
            return None
        values = {item.name: request.value(self._name(item.name)) for item in kernel.every_operand}
        context: dict[str, str | int] = {
            **{switch: bool(self.scalar(switch)) for switch in kernel.switches},
            **kernel.types({name: value.dtype for name, value in values.items() if value is not None}),
            **{item.updated_with: request.accumulate for item in kernel.every_operand if item.updated_with},
            **(self.variants[0].context if self.variants else {}),
            **self.specialisation(request),
        }
        sizes = self.sizes(request)
        arguments: dict[str, Argument] = {}
        for item in kernel.present(context):
            if isinstance(item, Scalar):
                scalar = self.scalar(item.name)
                arguments[item.name] = scalar if isinstance(scalar, Runtime) else Number(scalar)
            else:
                value = values[item.name]
                assert value is not None or item.optional, f"{kernel.template} needs {item.name}"
                arguments[item.name] = Tensor(None if value is None else value.name)
        shape = {field: sizes[field] for field in kernel.shape.fields}
        return KernelCall(kernel, context, shape, arguments, self.variants)


class AnyOrder(Operator):
    """Reads operands in whatever order their bytes have.

    Those of the output's shape must have its layout where it `repeats` the others, all where they are of `one_order`.
    """

    one_order: ClassVar[bool] = False
    repeats: ClassVar[bool] = False

    @abstractmethod
    def layout(self, given: Mapping[str, Value], shape: Shape) -> Layout | None:
        """The layout of the output of that shape; None where the operands' layouts allow none."""

    def placed(self, given: Mapping[str, Value], layout: Layout) -> AnyOrder:
        """The operator where operands and output have these layouts."""
        return self


class Elementwise(Operator):
    """One output, of the shape that every input has."""

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        first, *others = inputs.values()
        if any(other != first for other in others):
            raise ValueError(
                f"only tensors of one shape go together, got {' and '.join(map(str, inputs.values()))}"
            )
        return dict.fromkeys(self.outputs, first)


class InPlaceOperator(Operator):
    """Part of an update: writes over inputs and has no output."""

    outputs: ClassVar[tuple[str, ...]] = ()
    pass_name: ClassVar[str] = "update"

    @property
    @override
    def inputs(self) -> tuple[str, ...]:
        return tuple(self._name(operand.name) for operand in self._operands)

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {}

    @override
    def reference(self, **arrays: Array) -> dict[str, Array]:
        """None: it writes over what it is given, some with a factor that only the running network knows."""
        raise TypeError(f"{self.title} has no value; tests compare what it writes with PyTorch's")


def sizes_of(shape: Shape) -> dict[str, int]:
    """What shape structs call the sizes of a tensor [N,C,H,W], [N,C,L], [N,C] or [C]."""
    count = math.prod(shape)
    channels = shape[1] if len(shape) > 1 else count
    sizes = {"count": count, "pixels": count // channels, "channels": channels}
    sizes |= {"batch": shape[0], "classes": count // shape[0], "width": 1}
    return sizes | dict(zip(("height", "width"), shape[2:], strict=False))


def clamp(values: Array, low: float, high: float) -> Array:
    """Values limited to [low, high]; NaN stays NaN."""
    return np.asarray(np.where(values < low, low, np.where(values > high, high, values)), dtype=values.dtype)


def masked(gradient: Array, y: Array, low: float, high: float) -> Array:
    """A gradient where its activation y is between its limits, 0 elsewhere."""
    return np.where((y > low) & (y < high), gradient, np.zeros_like(gradient))
