"""Transient buffers as rectangles, lifetime by units of memory: what the packers of an arena work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from odl.plan.buffers import Buffer


@dataclass(frozen=True)
class Rectangle:
    """A transient buffer in units of the smallest alignment; `stride` is its own alignment in these units."""

    name: str
    first: int
    last: int
    size: int
    stride: int

    @staticmethod
    def of(buffer: Buffer, unit: int) -> Rectangle:
        """The buffer's rectangle; `unit` is the smallest alignment, in bytes."""
        size = -(-buffer.size_bytes // unit)
        return Rectangle(buffer.name, buffer.first_step, buffer.last_step, size, buffer.alignment // unit)

    @property
    def lifetime(self) -> int:
        """Steps from the first to the last."""
        return self.last - self.first + 1

    def meets(self, other: Rectangle) -> bool:
        """Whether there is a step in which both are live."""
        return self.first <= other.last and other.first <= self.last


def height_of(offsets: Mapping[Rectangle, int]) -> int:
    """Units from the start of the arena to the end of the highest rectangle."""
    return max((offset + item.size for item, offset in offsets.items()), default=0)


def round_up(value: int, alignment: int) -> int:
    """The next multiple of the alignment."""
    return -(-value // alignment) * alignment
