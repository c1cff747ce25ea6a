"""What an operator states about itself: shape rule, MAC count, NumPy reference and the kernel that serves it.

An operator is a frozen dataclass of attributes. Its file also says which ATen operators lower to it
(`odl.operators.lowering.lowers`), so that adding an operator touches this folder, kernels/ and tests/ only.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from odl.graph.ir import Value
from odl.operators.tiling import Tiling

Array = NDArray[Any]
Shape = tuple[int, ...]
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


@dataclass(frozen=True)
class Scratch:
    """Kernel argument: the address of the node's scratch memory."""


Argument = Tensor | Number | Runtime | Scratch


@dataclass(frozen=True)
class Variant:
    """Another way to compute the same call: entries of the context, and where `template` is given, another kernel.

    `same_bits`: the result has the bits of the first variant's, because sums are made in the same order.
    """

    context: Mapping[str, Any]
    template: str | None = None
    same_bits: bool = True


def register_tiles(first: Mapping[str, int], **sizes: Sequence[int]) -> tuple[Variant, ...]:
    """A variant for every combination of tile sizes, `first` in front."""
    tiles = [dict(zip(sizes, tile, strict=True)) for tile in itertools.product(*sizes.values())]
    return tuple(Variant(tile) for tile in (first, *(tile for tile in tiles if tile != first)))


@dataclass(frozen=True)
class KernelCall:
    """Which template serves a node, how it is specialised and what it is called with.

    `context` goes to the template; `shape_type` and `shape` become a constant struct; `scratch_bytes` is memory
    that the kernel needs while it runs and is passed where `Scratch()` stands. `tiling` says how the call can be divided;
    None: it cannot. `variants` are ways to compute it, of which the tuner finds the fastest (odl/tune); the first is
    what `context` says.
    """

    template: str
    context: Mapping[str, Any]
    shape_type: str
    shape: Mapping[str, int]
    arguments: tuple[Argument, ...]
    scratch_bytes: int = 0
    tiling: Tiling | None = None
    variants: tuple[Variant, ...] = ()

    def with_variant(self, variant: Variant) -> KernelCall:
        """The same call, computed that way."""
        template = variant.template or self.template
        return dataclasses.replace(self, template=template, context={**self.context, **variant.context})


@dataclass(frozen=True)
class KernelRequest:
    """What an operator may know when it picks its kernel: its tensors, the cores and the way sums are carried."""

    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    cores: int
    chunk: int | None
    accumulate: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)

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


class Operator(ABC):
    """Base of all operators."""

    #: Names of the inputs and of the outputs, in order.
    inputs: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[tuple[str, ...]] = ()
    #: Inputs (by index) that the kernel also writes, such as running statistics and updated weights.
    updated_inputs: ClassVar[tuple[int, ...]] = ()
    #: (output, input) pairs that may share storage when nobody reads the input afterwards.
    in_place: ClassVar[tuple[tuple[int, int], ...]] = ()
    #: Whether output 0 is always the same bytes as input 0 (a view).
    is_view: ClassVar[bool] = False

    @abstractmethod
    def shapes(self, inputs: Sequence[Shape | None]) -> tuple[Shape, ...]:
        """Shapes of the outputs; ValueError when the inputs do not fit."""

    @abstractmethod
    def reference(self, *inputs: Array | None) -> tuple[Array, ...]:
        """The outputs in NumPy, in PyTorch's layout and the precision of the inputs."""

    def macs(self, inputs: Sequence[Shape | None], outputs: Sequence[Shape]) -> int:
        """Multiply-accumulates of one call (convolutions and dense layers only, as MLPerf Tiny counts)."""
        return 0

    @abstractmethod
    def kernel(self, request: KernelRequest) -> KernelCall | None:
        """The kernel that serves this operator, or None when nothing has to run (a view)."""

    @property
    def pass_name(self) -> str:
        """forward, input_gradient, weight_gradient, or update."""
        return "forward"

    def describe(self) -> str:
        """Name and attributes that differ from their defaults, as text."""
        parts = []
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if item.default is dataclasses.MISSING or value != item.default:
                parts.append(f"{item.name}={_text(value)}")
        return type(self).__name__ + (f"[{' '.join(parts)}]" if parts else "")


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def clamp(values: Array, low: float, high: float) -> Array:
    """Values limited to [low, high]; NaN stays NaN."""
    return np.asarray(np.where(values < low, low, np.where(values > high, high, values)), dtype=values.dtype)
