"""Buffers, their places and the plan of one memory: what planner, verifier and reports have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from odl.graph.ir import Purpose

#: Addresses of buffers, and of blocks in L1, are multiples of this.
ALIGNMENT = 4
#: Key in `MemoryPlan.by_purpose` of the bytes that hold nothing at the peak step.
UNUSED = "unused"


def round_up(count: int) -> int:
    """Bytes up to the next aligned address."""
    return -(-count // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Buffer:
    """A run of bytes with one address, needed from `first_step` to `last_step`, both included.

    A persistent buffer keeps its bytes over the whole schedule and between calls, whatever its steps say. ValueError
    for a negative size or lifetime.
    """

    name: str
    size_bytes: int
    purpose: Purpose
    first_step: int
    last_step: int
    persistent: bool = False

    def __post_init__(self) -> None:
        if self.size_bytes < 0:
            raise ValueError(f"buffer '{self.name}': size of {self.size_bytes} bytes")
        if self.last_step < self.first_step:
            raise ValueError(f"buffer '{self.name}': lives from {self.first_step} to {self.last_step}")

    def live_at(self, step: int) -> bool:
        """Whether the buffer must keep its bytes during the step."""
        return self.persistent or self.first_step <= step <= self.last_step

    def meets(self, other: Buffer) -> bool:
        """Whether there is a step during which both buffers must keep their bytes."""
        if self.persistent or other.persistent:
            return True
        return self.first_step <= other.last_step and other.first_step <= self.last_step


@dataclass(frozen=True)
class Placement:
    """A buffer and its byte offset from the start of its memory's arena."""

    buffer: Buffer
    offset: int

    @property
    def end(self) -> int:
        """First byte after the buffer."""
        return self.offset + self.buffer.size_bytes


def own_bytes(placements: Iterable[Placement]) -> Iterator[tuple[Placement, int]]:
    """Placements with the number of their bytes that none before them has, in the order of their offsets.

    A result that takes over its operand's place shares it while it is being made.
    """
    end = 0
    for item in sorted(placements, key=lambda item: (item.offset, item.buffer.name)):
        yield item, max(0, item.end - max(end, item.offset))
        end = max(end, item.end)


@dataclass(frozen=True)
class MemoryPlan:
    """Where every buffer of one memory lies: the persistent region first, then the transient one.

    `arena_bytes` is the size of both regions together and so the peak; `persistent_bytes` the size of the
    first, where the second begins. `peak_step` is the first step with the most live bytes. No plan can be
    smaller than `lower_bound_bytes`. `capacity` is the size of the memory, None when it does not matter.
    """

    memory: str
    capacity: int | None
    arena_bytes: int
    persistent_bytes: int
    placements: tuple[Placement, ...]
    peak_step: int
    lower_bound_bytes: int

    @property
    def peak_bytes(self) -> int:
        """Bytes of this memory that the network needs."""
        return self.arena_bytes

    @property
    def offsets(self) -> dict[str, int]:
        """Byte offset in the arena by buffer name."""
        return {placement.buffer.name: placement.offset for placement in self.placements}

    @property
    def live_at_peak(self) -> tuple[Buffer, ...]:
        """The buffers that are live at the peak step, the largest first."""
        live = (item.buffer for item in self._placed_at_peak)
        return tuple(sorted(live, key=lambda buffer: (-buffer.size_bytes, buffer.name)))

    @property
    def by_purpose(self) -> Mapping[str, int]:
        """Bytes per purpose at the peak step; with "unused" (alignment, gaps) they sum to `peak_bytes`."""
        used = {str(purpose): 0 for purpose in Purpose}
        for item, size in own_bytes(self._placed_at_peak):
            used[item.buffer.purpose] += size
        return {**used, UNUSED: self.arena_bytes - sum(used.values())}

    @property
    def _placed_at_peak(self) -> list[Placement]:
        return [item for item in self.placements if item.buffer.live_at(self.peak_step)]
