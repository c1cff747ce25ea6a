"""What happens to working copies and gradient sums around the updates; an update itself is an optimizer's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from odl.graph.ir import Value
from odl.graph.operator import Array, Shape
from odl.operators.base import KernelCall, KernelRequest, Number, Operator, Tensor
from odl.operators.tiling import FLAT


def _flat(value: Value) -> dict[str, int]:
    return {"count": value.count}


@dataclass(frozen=True)
class Refresh(Operator):
    """Round a master weight into its working copy; inputs master, copy (written in place)."""

    inputs: ClassVar[tuple[str, ...]] = ("parameter", "copy")
    updated: ClassVar[tuple[str, ...]] = ("copy",)

    @property
    @override
    def pass_name(self) -> str:
        return "update"

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {}

    @override
    def reference(self, **arrays: Array) -> dict[str, Array]:
        return {}

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
    updated: ClassVar[tuple[str, ...]] = ("accumulator",)

    @property
    @override
    def pass_name(self) -> str:
        return "update"

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {}

    @override
    def reference(self, **arrays: Array) -> dict[str, Array]:
        return {}

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
