"""What an operator states about itself: shape rule, MAC count, NumPy reference and the kernel that serves it.

An operator is a frozen dataclass of attributes. Its file also says which ATen operators lower to it
(`odl.operators.lowering.lowers`), so that adding an operator touches this folder, kernels/ and tests/ only.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from odl.graph.ir import Value
from odl.graph.operator import AbstractOperator, Array
from odl.operators.tiling import Tiling

INFINITY = math.inf


@dataclass(frozen=True)
class Tensor:
    """Kernel argument: the address of a value, or NULL."""

    name: str | None


@dataclass(frozen=True)
class Number:
    """Kernel argument: a float constant."""

    value: float


@dataclass(frozen=True)
class Runtime:
    """Kernel argument: a float that the network's state holds, such as `loss_scale` or `learning_rate`."""

    name: str


Argument = Tensor | Number | Runtime


@dataclass(frozen=True)
class Variant:
    """Another way to compute the same call, to the same bits: entries of the context that replace the call's."""

    context: Mapping[str, Any]


def register_tiles(first: Mapping[str, int], **sizes: Sequence[int]) -> tuple[Variant, ...]:
    """A variant for every combination of tile sizes, `first` in front."""
    tiles = [dict(zip(sizes, tile, strict=True)) for tile in itertools.product(*sizes.values())]
    return tuple(Variant(tile) for tile in (first, *(tile for tile in tiles if tile != first)))


@dataclass(frozen=True)
class KernelCall:
    """Which template serves a node, how it is specialised and what it is called with.

    `context` goes to the template; `shape_type` and `shape` become a constant struct. `tiling` says how the
    call can be divided; None: it cannot. `variants` are ways to compute it, of which the tuner finds the fastest
    (odl/tune); the first is what `context` says.
    """

    template: str
    context: Mapping[str, Any]
    shape_type: str
    shape: Mapping[str, int]
    arguments: tuple[Argument, ...]
    tiling: Tiling | None = None
    variants: tuple[Variant, ...] = ()

    def with_variant(self, variant: Variant) -> KernelCall:
        """The same call, computed that way."""
        return dataclasses.replace(self, context={**self.context, **variant.context})


@dataclass(frozen=True)
class KernelRequest:
    """What an operator may know when it picks its kernel: its tensors, the cores and the way sums are carried."""

    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    cores: int
    chunk: int | None
    accumulate: bool = False

    @property
    def sums(self) -> dict[str, Any]:
        """Template context that says how long dot products are summed."""
        return {"chunked": self.chunk is not None, "chunk": self.chunk or 0}

    def tensor(self, index: int) -> Tensor:
        """Argument for input `index`, NULL when it is absent."""
        value = self.inputs[index]
        return Tensor(None if value is None else value.name)

    def input(self, index: int) -> Value:
        """Input `index`, which must be present."""
        value = self.inputs[index]
        assert value is not None
        return value


class Operator(AbstractOperator):
    """Base of all operators."""

    @abstractmethod
    def kernel(self, request: KernelRequest) -> KernelCall | None:
        """The kernel that serves this operator, or None when nothing has to run (a view)."""


def clamp(values: Array, low: float, high: float) -> Array:
    """Values limited to [low, high]; NaN stays NaN."""
    return np.asarray(np.where(values < low, low, np.where(values > high, high, values)), dtype=values.dtype)
