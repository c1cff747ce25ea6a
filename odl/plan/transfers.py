"""The transfers between L2 and L1 that a program issues, and which resident of L1 gives its place away for another.

Everything is known ahead, so L1 is a cache planned perfectly: what comes in is placed where what it displaces is needed
last (Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5, 1966).
"""

from __future__ import annotations

from collections.abc import Collection

from odl.plan.future import Future
from odl.plan.residents import Departure, Resident, Residents
from odl.plan.staging import Command, Transfer, WaitForStores
from odl.plan.tasks import Block

# What it costs to give places away, in bytes moved. They decide little: docs/tuning.md ("The planner's constants").
#: For each resident: of places that cost the same, the one with fewer residents is better. Without it ResNet8 moves 0.4 %
#: more bytes in 16 KiB of L1; 1024 moves no more, and costs DS-CNN 0.03 % more cycles.
_EACH = 2.0
#: For each place that a departing block must leave first: ResNet8 takes 0.6 % more cycles without it.
_EACH_DEPARTURE = 1
#: For each byte that must be stored first: the task waits for it. 1 and 4 move as many bytes in the default L1; 4 moves
#: 0.5 % more bytes of ResNet8 in 16 KiB.
_STORED_BYTE = 2.0
#: For each byte that comes back: 1, and this divided by the tasks until then, since a later task has time to fetch it.
#: Without it ResNet8 moves 0.7 % more bytes in 16 KiB of L1, and MobileNetV1 0.6 % less in the default L1.
_SOON_BACK = 4.0


class Transfers:
    """Issues transfers into lists of commands and keeps L1 in step; `stored` names the tensors that need a place in L2."""

    def __init__(self, l1: Residents, future: Future, stored: Collection[str]) -> None:
        self.stored = set(stored)
        self._l1, self._future = l1, future

    def store(self, resident: Resident, commands: list[Command]) -> None:
        """Send the block to L2; its place can be given away once it has left."""
        commands.append(Transfer(resident.block, resident.address, False))
        self._l1.departures.append(Departure(resident.block, resident.address, resident.end))
        self.stored.add(resident.block.tensor)
        resident.dirty = False

    def wait(self, commands: list[Command]) -> None:
        """Wait until every departing block has arrived, if there is one."""
        if self._l1.departures:
            commands.append(WaitForStores())
            self._l1.departures.clear()

    def load(self, resident: Resident, commands: list[Command], due: int) -> None:
        """Fetch the block from L2 into its place, in time for task `due`."""
        if any(item.block.meets(resident.block) for item in self._l1.departures):
            self.wait(commands)
        commands.append(Transfer(resident.block, resident.address, True, due))
        resident.touched, resident.due = True, due
        self.stored.add(resident.block.tensor)

    def place(
        self, block: Block, pinned: Collection[Block], commands: list[Command], index: int, after: int
    ) -> Resident | None:
        """Give the block a place while task `index` runs or before it; None where that needs a pinned block's place.

        Residents that are needed from task `after` on are worth their place.
        """
        start = self._cheapest(block, pinned, index, after)
        if start is None:
            return None
        end = start + block.room
        for item in self._l1.within(start, end):
            if item.dirty and self._future.needs(item.block, after):
                self.store(item, commands)
            self._l1.drop(item, max(item.since, index - 1))
        if self._l1.departing(start, end):
            self.wait(commands)
        resident = Resident(block, start, index)
        self._l1.add(resident)
        return resident

    def _cheapest(self, block: Block, pinned: Collection[Block], index: int, after: int) -> int | None:
        best: tuple[tuple[float, int], int] | None = None
        for start in self._l1.starts(block):
            there = self._l1.within(start, start + block.room)
            if any(item.block in pinned or item.due > index for item in there):
                continue
            cost = sum(self._cost(item, after) for item in there)
            cost += _EACH_DEPARTURE * len(self._l1.departing(start, start + block.room))
            rank = (cost, start if self._l1.is_large(block) else -start)
            if best is None or rank < best[0]:
                best = (rank, start)
        return None if best is None else best[1]

    def _cost(self, resident: Resident, index: int) -> float:
        """What it costs to give the resident's place away: bytes to store, bytes to bring back, the sooner the more."""
        cost = _EACH
        if resident.dirty and self._future.needs(resident.block, index):
            cost += _STORED_BYTE * resident.block.room
        hit = self._future.next_hit(resident.block, index)
        if hit is not None:
            cost += resident.block.room * (1.0 + _SOON_BACK / (1 + hit - index))
        return cost
