"""What the graph knows of an operator: the names of its inputs and outputs, its shape rule and what it may overwrite."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class InPlace:
    """An output that may be written over an input, by their names, when nobody reads the input afterwards."""

    output: str
    input: str


class AbstractOperator(ABC):
    """A node's kind, as far as graphs and passes use it: everything but the kernel that serves it.

    Shapes and arrays come and go by the names in `inputs` and `outputs`; an optional input that is absent has no entry.
    """

    #: forward, input_gradient, weight_gradient, or update.
    pass_name: ClassVar[str] = "forward"

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""

    @property
    def optional(self) -> tuple[str, ...]:
        """Inputs that a node need not have."""
        return ()

    @property
    def updated(self) -> tuple[str, ...]:
        """Inputs that the operator also writes, such as running statistics and updated weights."""
        return ()

    @property
    def in_place(self) -> tuple[InPlace, ...]:
        """Outputs that may be written over inputs."""
        return ()

    @property
    def is_view(self) -> bool:
        """Whether the outputs in `in_place` are always the same bytes as their inputs."""
        return False

    def without(self, outputs: Collection[str]) -> AbstractOperator:
        """The operator where nobody reads these outputs: one that does not give them, or itself where it always does."""
        return self

    @property
    def title(self) -> str:
        """What the manifest, comments of the generated C and dumps call it."""
        return type(self).__name__

    @abstractmethod
    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        """Shapes of the outputs that this operator gives, in order; ValueError when the inputs do not fit."""

    @abstractmethod
    def reference(self, *none: Any, **arrays: Any) -> dict[str, Array]:
        """The outputs in NumPy, in PyTorch's layout and the precision of the inputs, which are given by name."""

    def macs(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> int:
        """Multiply-accumulates of one call (convolutions and dense layers only, as MLPerf Tiny counts)."""
        return 0

    def describe(self) -> str:
        """Name and attributes that differ from their defaults, as text."""
        parts = []
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if item.default is dataclasses.MISSING or value != item.default:
                parts.append(f"{item.name}={_text(value)}")
        return self.title + (f"[{' '.join(parts)}]" if parts else "")


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
