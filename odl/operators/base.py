"""What an operator states about itself: shape rule, MAC count, NumPy reference and the kernel that serves it.

An operator is a frozen dataclass of attributes. Its file also says which ATen operators lower to it
(`odl.operators.lowering.lowers`), so that adding an operator touches this folder, kernels/ and tests/ only.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from odl.graph.ir import Value
from odl.graph.operator import AbstractOperator, Array, InPlace
from odl.kernels.call import Argument, KernelCall, Tensor, Variant
from odl.kernels.signature import Kernel, Specialisation

INFINITY = math.inf


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

    @property
    def sums(self) -> dict[str, int]:
        """Entries of the specialisation that say how long dot products are summed."""
        return {"chunked": self.chunk is not None, "chunk": self.chunk or 0}

    def value(self, name: str) -> Value | None:
        """The output or input of that name, None when it is absent."""
        return self.outputs.get(name) or self.inputs.get(name)

    def present(self, name: str) -> Value:
        """The input or output of that name, which must be there."""
        value = self.value(name)
        assert value is not None
        return value


class Operator(AbstractOperator):
    """Base of all operators."""

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
    def optional(self) -> tuple[str, ...]:
        return self._inputs_of(() if self.signature is None else self.signature.optional)

    @property
    @override
    def updated(self) -> tuple[str, ...]:
        return self._inputs_of(() if self.signature is None else self.signature.written)

    def _inputs_of(self, operands: Collection[str]) -> tuple[str, ...]:
        names = {self.operand_names.get(operand, operand) for operand in operands}
        return tuple(name for name in self.inputs if name in names)

    @property
    @override
    def in_place(self) -> tuple[InPlace, ...]:
        pairs = () if self.signature is None else self.signature.may_overlap
        named = (tuple(self.operand_names.get(operand, operand) for operand in pair) for pair in pairs)
        return tuple(InPlace(output, given) for output, given in named if output in self.outputs)

    def call(
        self,
        request: KernelRequest,
        context: Specialisation,
        shape: Mapping[str, int],
        scalars: Mapping[str, Argument] | None = None,
        variants: tuple[Variant, ...] = (),
    ) -> KernelCall:
        """The operator's kernel called on its tensors; NULL where one is absent."""
        kernel = self.signature
        assert kernel is not None
        arguments: dict[str, Argument] = dict(scalars or {})
        for operand in kernel.operands(context):
            value = request.value(self.operand_names.get(operand.name, operand.name))
            assert value is not None or operand.optional, f"{kernel.template} needs {operand.name}"
            arguments[operand.name] = Tensor(None if value is None else value.name)
        return KernelCall(kernel, context, shape, arguments, variants)

    @abstractmethod
    def kernel(self, request: KernelRequest) -> KernelCall | None:
        """The kernel that serves this operator, or None when nothing has to run (a view)."""


def clamp(values: Array, low: float, high: float) -> Array:
    """Values limited to [low, high]; NaN stays NaN."""
    return np.asarray(np.where(values < low, low, np.where(values > high, high, values)), dtype=values.dtype)
