"""What happens to working copies and gradient sums around the updates; an update itself is an optimizer's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from odl.graph.ir import Value
from odl.graph.operator import Array, Shape
from odl.kernels.call import KernelCall, Number
from odl.kernels.signature import FLAT_SHAPE, Direction, Kernel, Operand, Scalar
from odl.kernels.tiling import FLAT
from odl.operators.base import KernelRequest, Operator

CAST = Kernel("cast", FLAT_SHAPE, (Operand("x", "S"), Operand("y", "D", Direction.WRITE)), (), FLAT)
FILL = Kernel("fill", FLAT_SHAPE, (Operand("y", "T", Direction.WRITE), Scalar("value")), (), FLAT)


def _flat(value: Value) -> dict[str, int]:
    return {"count": value.count}


class _InPlace(Operator):
    """An operator of the update that writes over an input and has no output."""

    pass_name: ClassVar[str] = "update"

    @override
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        return {}

    @override
    def reference(self, **arrays: Array) -> dict[str, Array]:
        return {}


@dataclass(frozen=True)
class Refresh(_InPlace):
    """Round a master weight into its working copy; inputs master, copy (written in place)."""

    inputs: ClassVar[tuple[str, ...]] = ("parameter", "copy")
    signature: ClassVar[Kernel] = CAST
    operand_names: ClassVar[Mapping[str, str]] = {"x": "parameter", "y": "copy"}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        master, copy = request.present("parameter"), request.present("copy")
        return self.call(request, {"S": master.dtype, "D": copy.dtype}, _flat(master))


@dataclass(frozen=True)
class Clear(_InPlace):
    """Set a gradient accumulator to zero; input the accumulator (written in place)."""

    inputs: ClassVar[tuple[str, ...]] = ("accumulator",)
    signature: ClassVar[Kernel] = FILL
    operand_names: ClassVar[Mapping[str, str]] = {"y": "accumulator"}

    @override
    def kernel(self, request: KernelRequest) -> KernelCall:
        target = request.present("accumulator")
        return self.call(request, {"T": target.dtype}, _flat(target), {"value": Number(0.0)})
