"""Transient buffers as rectangles, lifetime by units of `ALIGNMENT` bytes: what the packers of an arena work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from odl.plan.buffers import ALIGNMENT, Buffer, round_up


@dataclass(frozen=True)
class Rectangle:
    """A transient buffer; `size` in units."""

    name: str
    first: int
    last: int
    size: int

    @staticmethod
    def of(buffer: Buffer) -> Rectangle:
        """The buffer's rectangle."""
        size = round_up(buffer.size_bytes) // ALIGNMENT
        return Rectangle(buffer.name, buffer.first_step, buffer.last_step, size)

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
