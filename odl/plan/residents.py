"""The blocks that are in L1 at one point of the plan, and the places that are free."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from odl.plan.staging import Stay
from odl.plan.tasks import Block, Task

#: A block of more than 1 / this of L1 is large: large blocks fill L1 from its start and small ones from its end, so that
#: gaps stay large. ResNet8 takes 1.3 % more cycles with 2 and 0.4 % more with 64 (docs/tuning.md).
_LARGE_SHARE = 8


@dataclass
class Resident:
    """A block in L1 at byte `address`, since task `since`.

    It is `dirty` while L2 does not have its bytes, and `touched` once a transfer or a kernel has used its place. Its
    transfer must be complete for task `due`.
    """

    block: Block
    address: int
    since: int
    dirty: bool = False
    touched: bool = False
    due: int = 0

    @property
    def end(self) -> int:
        """First byte after its place."""
        return self.address + self.block.room


@dataclass(frozen=True)
class Departure:
    """A block on its way to L2; the DMA engine still reads its place, bytes `address` to `end` (excluded)."""

    block: Block
    address: int
    end: int


class Residents:
    """L1 of `capacity` bytes with its residents and departures; `stays` records who has been there, and when."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.departures: list[Departure] = []
        self.stays: list[Stay] = []
        self._items: list[Resident] = []

    def __iter__(self) -> Iterator[Resident]:
        return iter(tuple(self._items))

    def add(self, resident: Resident) -> None:
        """Note a block that has come in or been made."""
        self._items.append(resident)

    def drop(self, resident: Resident, last: int) -> None:
        """Give its place away after task `last`."""
        self._items.remove(resident)
        if resident.touched:
            self.stays.append(Stay(resident.block, resident.address, resident.since, last))

    # --- who is there -----------------------------------------------------------------------------------------

    def find(self, block: Block) -> Resident | None:
        """The resident that is just this block."""
        return next((item for item in self._items if item.block == block), None)

    def holder(self, block: Block, task: Task) -> Resident | None:
        """The resident in which the task finds the block: itself, or for operands that are only read a larger one."""
        found = self.find(block)
        if found is not None or block in task.writes or block in task.takes_over.values():
            return found
        return next((item for item in self._items if item.block.serves(block)), None)

    def address(self, block: Block, task: Task) -> int:
        """The byte of L1 at which the task finds the block, which must be there."""
        holder = self.holder(block, task)
        assert holder is not None
        return holder.address + block.part.offset - holder.block.part.offset

    def pinned(self, *tasks: Task) -> set[Block]:
        """The residents that must keep their places for the tasks."""
        holders = [self.holder(block, task) for task in tasks for block in task.blocks]
        return {item.block for item in holders if item is not None}

    def within(self, begin: int, end: int) -> list[Resident]:
        """The residents that have one of these bytes."""
        return [item for item in self._items if item.address < end and begin < item.end]

    def departing(self, begin: int, end: int) -> list[Departure]:
        """The departures that the DMA engine reads from one of these bytes."""
        return [item for item in self.departures if item.address < end and begin < item.end]

    # --- places -----------------------------------------------------------------------------------------------

    def starts(self, block: Block) -> list[int]:
        """Addresses worth a try: at either end of L1, and right behind or before what is there."""
        taken = self._taken()
        starts = {0, self.capacity - block.room}
        starts |= {end for _, end in taken} | {begin - block.room for begin, _ in taken}
        return sorted(start for start in starts if 0 <= start <= self.capacity - block.room)

    def free_place(self, block: Block) -> int | None:
        """An address where the block displaces nothing at all."""
        taken = self._taken()
        free = [
            start
            for start in self.starts(block)
            if all(end <= start or start + block.room <= begin for begin, end in taken)
        ]
        if not free:
            return None
        return free[0] if self.is_large(block) else free[-1]

    def crowds(self, block: Block, address: int, others: Iterable[Block]) -> bool:
        """Whether the block at that address would take the last free place of one of the others."""
        fitting = [other for other in others if self.free_place(other) is not None]
        self._items.append(Resident(block, address, 0))
        crowds = any(self.free_place(other) is None for other in fitting)
        self._items.pop()
        return crowds

    def is_large(self, block: Block) -> bool:
        """Whether the block's place is sought from the start of L1."""
        return _LARGE_SHARE * block.room > self.capacity

    def _taken(self) -> list[tuple[int, int]]:
        taken = [(item.address, item.end) for item in self._items]
        return taken + [(item.address, item.end) for item in self.departures]
