"""What happens to working copies and gradient sums around the updates; an update itself is an optimizer's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from odl.graph.operator import Array
from odl.kernels.signature import FLAT_SHAPE, Kernel, Operand, Scalar, written
from odl.kernels.tiling import FLAT
from odl.operators.base import Elementwise, InPlaceOperator

CAST = Kernel("cast", FLAT_SHAPE, (Operand("x", "S"), written("y", "D")), (), FLAT)
FILL = Kernel("fill", FLAT_SHAPE, (written("y", "T"), Scalar("value")), (), FLAT)


@dataclass(frozen=True)
class Refresh(InPlaceOperator):
    """Give one tensor another's numbers, as a working copy its master weight's; inputs master, copy (written in place)."""

    signature: ClassVar[Kernel] = CAST
    operand_names: ClassVar[Mapping[str, str]] = {"x": "parameter", "y": "copy"}


@dataclass(frozen=True)
class Copy(Elementwise):
    """The same numbers in other bytes."""

    signature: ClassVar[Kernel] = CAST

    @override
    def reference(self, *, x: Array) -> dict[str, Array]:
        return {"y": x.copy()}


@dataclass(frozen=True)
class Clear(InPlaceOperator):
    """Set a gradient accumulator to zero; input the accumulator (written in place)."""

    signature: ClassVar[Kernel] = FILL
    operand_names: ClassVar[Mapping[str, str]] = {"y": "accumulator"}
    value: ClassVar[float] = 0.0
