"""Which block of which tensor lies where in the small memory beside the cores, and when the DMA engine moves it.

Everything is known ahead, so the small memory is a cache planned perfectly: what comes in is placed where what it
displaces is needed last (Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems
Journal 5, 1966), operands of the next task are brought in while the cores work on this one, and results that are needed
much later go out in the meantime. What is never needed again is never stored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from odl.plan.tasks import Block, Task

#: How many tasks ahead operands are brought in, where there is room that nobody needs. A program tells as many groups
#: of transfers apart: that of the task which will wait for them.
AHEAD = 4
#: A result that is next needed after more tasks than this is stored early, so that its place can be given away.
_SOON = 3


class DoesNotFitError(Exception):
    """The blocks of one task do not fit the small memory together."""


@dataclass(frozen=True)
class Transfer:
    """The DMA engine moves a block between its tensor and `address` in the small memory.

    `due` is the task that an inward move must be complete for.
    """

    block: Block
    address: int
    inward: bool
    due: int | None = None


@dataclass(frozen=True)
class WaitForStores:
    """Core 0 waits until every block on its way out has arrived."""


@dataclass(frozen=True)
class WaitForFetches:
    """Core 0 waits until every block on its way in has arrived."""


Command = Transfer | WaitForStores | WaitForFetches


@dataclass(frozen=True)
class StagedTask:
    """A task, the address of each of its blocks, and what core 0 does around it.

    `before`: moves that the task itself waits for; a barrier follows. `beside`: moves that run while the cores compute.
    At the end of the task, before its barrier, core 0 waits for what is due for the next task where `await_next` says
    so, and with `wait_for_stores` for blocks on their way out. `publish`: results that a debugger wants to see in the
    large memory.
    """

    task: Task
    addresses: dict[Block, int]
    before: tuple[Command, ...]
    beside: tuple[Command, ...]
    await_next: bool
    wait_for_stores: bool
    publish: tuple[Transfer, ...]


@dataclass(frozen=True)
class Stay:
    """A block's time in the small memory, from its first to its last task."""

    block: Block
    address: int
    first: int
    last: int


@dataclass(frozen=True)
class Staging:
    """A program's tasks with all moves; `finish` follows the last. `stored` names tensors that live in the large memory."""

    tasks: tuple[StagedTask, ...]
    finish: tuple[Command, ...]
    stays: tuple[Stay, ...]
    stored: frozenset[str]


def stage(tasks: Sequence[Task], kept: Collection[str], given: Collection[str], capacity: int) -> Staging:
    """Plan the moves of one program.

    `kept` names the tensors that must be in the large memory at the end, `given` those that are there at the start.
    `capacity`: bytes of the small memory.
    """
    return _Stager(tasks, kept, given, capacity).run()


@dataclass
class _Resident:
    block: Block
    address: int
    dirty: bool
    since: int
    touched: bool = False  # whether a transfer or a kernel has used the place
    due: int = 0  # the task that its transfer must be complete for

    @property
    def end(self) -> int:
        return self.address + self.block.room


@dataclass
class _Draft:
    """A staged task in the making."""

    before: list[Command] = field(default_factory=list)
    beside: list[Command] = field(default_factory=list)
    wait_for_stores: bool = False
    addresses: dict[Block, int] = field(default_factory=dict)


class _Stager:
    def __init__(
        self, tasks: Sequence[Task], kept: Collection[str], given: Collection[str], capacity: int
    ) -> None:
        self._tasks, self._kept, self._capacity = tasks, set(kept), capacity
        self._stored: set[str] = set(kept) | set(given)
        self._residents: list[_Resident] = []
        self._leaving: list[tuple[int, int, Block]] = []  # places that the DMA engine still reads
        self._due: set[int] = set()  # tasks that blocks come in for beside an earlier one
        self._stays: list[Stay] = []
        self._uses: dict[str, list[tuple[int, Block, bool, bool]]] = {}
        for index, task in enumerate(tasks):
            for block in task.blocks:
                use = (index, block, block in task.reads, block in task.writes)
                self._uses.setdefault(block.tensor, []).append(use)
        for tensor, uses in self._uses.items():
            if len({block for _, block, _, written in uses if written}) > 1:
                self._stored.add(tensor)  # what is made in pieces is put together in the large memory

    def run(self) -> Staging:
        drafts = [_Draft() for _ in self._tasks]
        published: list[tuple[Transfer, ...]] = []
        for index, task in enumerate(self._tasks):
            draft = drafts[index]
            previous = drafts[index - 1] if index else None
            if task.staged:
                self._admit(index, draft)
                self._guard_writes(task, draft, previous)
                draft.addresses = {
                    block: self._address(task.takes_over.get(block, block), task) for block in task.blocks
                }
                draft.beside += self._store_early(index)
                if index + 1 < len(self._tasks) and self._tasks[index + 1].staged:
                    self._bring_in(index, draft.beside)
                    self._look_ahead(index, draft.beside)
            else:
                self._settle(index, draft)
            self._commit(index, draft)
            published.append(self._publish(index))
        finish = self._finish()
        staged = tuple(
            StagedTask(
                task,
                draft.addresses,
                tuple(draft.before),
                tuple(draft.beside),
                index + 1 in self._due,
                draft.wait_for_stores,
                transfers,
            )
            for index, (task, draft, transfers) in enumerate(zip(self._tasks, drafts, published, strict=True))
        )
        kept_published = tuple(
            StagedTask(
                item.task,
                item.addresses,
                item.before,
                item.beside,
                item.await_next,
                item.wait_for_stores,
                tuple(move for move in item.publish if move.block.tensor in self._stored),
            )
            for item in staged
        )
        return Staging(kept_published, finish, tuple(self._stays), frozenset(self._stored))

    # --- the future -------------------------------------------------------------------------------------------

    def _next_hit(self, block: Block, index: int) -> int | None:
        """The next task from `index` on that reads the block or from it, unless its bytes change before."""
        for at, other, read, written in self._uses[block.tensor]:
            if at < index:
                continue
            if read and _serves(block, other):
                return at
            if written and other.meets(block):
                return None
        return None

    def _needed(self, block: Block, index: int) -> bool:
        """Whether the block's bytes are read from task `index` on, or kept, before they are all overwritten."""
        for at, other, read, written in self._uses[block.tensor]:
            if at < index:
                continue
            if read and other.meets(block):
                return True
            if written and other.covers(block):
                return False
        return block.tensor in self._kept

    # --- places -----------------------------------------------------------------------------------------------

    def _find(self, block: Block) -> _Resident | None:
        """The resident that is just this block."""
        return next((item for item in self._residents if item.block == block), None)

    def _holder(self, block: Block, task: Task) -> _Resident | None:
        """The resident in which the task finds the block: itself, or for operands that are only read a larger one."""
        found = self._find(block)
        if found is not None or block in task.writes or block in task.takes_over.values():
            return found
        return next((item for item in self._residents if _serves(item.block, block)), None)

    def _address(self, block: Block, task: Task) -> int:
        holder = self._holder(block, task)
        assert holder is not None
        return holder.address + block.part.offset - holder.block.part.offset

    def _pinned(self, *tasks: Task) -> set[Block]:
        """Residents that must keep their places for the tasks."""
        holders = [self._holder(block, task) for task in tasks for block in task.blocks]
        return {item.block for item in holders if item is not None}

    def _drop(self, resident: _Resident, index: int) -> None:
        self._residents.remove(resident)
        if resident.touched:
            self._stays.append(Stay(resident.block, resident.address, resident.since, index))

    def _store(self, resident: _Resident, commands: list[Command]) -> None:
        commands.append(Transfer(resident.block, resident.address, False))
        self._leaving.append((resident.address, resident.end, resident.block))
        self._stored.add(resident.block.tensor)
        resident.dirty = False

    def _wait(self, commands: list[Command]) -> None:
        if self._leaving:
            commands.append(WaitForStores())
            self._leaving.clear()

    def _place(
        self, block: Block, pinned: Collection[Block], commands: list[Command], index: int, after: int
    ) -> _Resident | None:
        """Give the block a place while task `index` runs or before it; None where that needs a pinned block's place.

        Residents that are needed from task `after` on are worth their place.
        """
        best: tuple[tuple[float, int], int] | None = None
        for start in self._starts(block):
            end = start + block.room
            there = [item for item in self._residents if item.address < end and start < item.end]
            if any(item.block in pinned or item.due > index for item in there):
                continue
            cost = sum(self._cost(item, after) for item in there)
            cost += sum(1 for begin, stop, _ in self._leaving if begin < end and start < stop)
            rank = (cost, start if self._is_large(block) else -start)
            if best is None or rank < best[0]:
                best = (rank, start)
        if best is None:
            return None
        start, end = best[1], best[1] + block.room
        for item in [item for item in self._residents if item.address < end and start < item.end]:
            if item.dirty and self._needed(item.block, after):
                self._store(item, commands)
            self._drop(item, max(item.since, index - 1))
        if any(begin < end and start < stop for begin, stop, _ in self._leaving):
            self._wait(commands)
        resident = _Resident(block, start, False, index)
        self._residents.append(resident)
        return resident

    def _cost(self, resident: _Resident, index: int) -> float:
        """What it costs to give the resident's place away: bytes to store, bytes to bring back, the sooner the more."""
        cost = 2.0
        if resident.dirty and self._needed(resident.block, index):
            cost += 2.0 * resident.block.room
        hit = self._next_hit(resident.block, index)
        if hit is not None:
            cost += resident.block.room * (1.0 + 4.0 / (1 + hit - index))
        return cost

    def _starts(self, block: Block) -> list[int]:
        """Addresses worth a try: at either end of the memory, and right behind or before what is there."""
        taken = [(item.address, item.end) for item in self._residents]
        taken += [(begin, end) for begin, end, _ in self._leaving]
        starts = {0, self._capacity - block.room}
        starts |= {end for _, end in taken} | {begin - block.room for begin, _ in taken}
        return sorted(start for start in starts if 0 <= start <= self._capacity - block.room)

    def _is_large(self, block: Block) -> bool:
        """Large blocks fill the memory from its start and small ones from its end, so that gaps stay large."""
        return 8 * block.room > self._capacity

    def _free_place(self, block: Block) -> int | None:
        """An address where the block displaces nothing at all."""
        taken = [(item.address, item.end) for item in self._residents]
        taken += [(begin, end) for begin, end, _ in self._leaving]
        free = [
            start
            for start in self._starts(block)
            if all(stop <= start or start + block.room <= begin for begin, stop in taken)
        ]
        if not free:
            return None
        return free[0] if self._is_large(block) else free[-1]

    def _load(self, resident: _Resident, commands: list[Command], due: int) -> None:
        if any(block.meets(resident.block) for _, _, block in self._leaving):
            self._wait(commands)
        commands.append(Transfer(resident.block, resident.address, True, due))
        resident.touched, resident.due = True, due
        self._stored.add(resident.block.tensor)

    # --- one task ---------------------------------------------------------------------------------------------

    def _admit(self, index: int, draft: _Draft) -> None:
        """Have every block of the task in place; what is missing comes in now, and the task waits for it."""
        task = self._tasks[index]
        self._reconcile(task, draft.before)
        earlier = list(self._residents)
        if not self._place_all(task, index, draft.before):
            # Start over with an empty memory; what this attempt was to bring in comes in again.
            draft.before = [move for move in draft.before if not _is_inward(move)]
            if any(item.due > index for item in earlier):
                draft.before.append(WaitForFetches())
            for item in list(self._residents):
                item.touched = item.touched and item in earlier
                if item.dirty and (item.block in task.reads or self._needed(item.block, index)):
                    self._store(item, draft.before)
                self._drop(item, max(item.since, index - 1))
            self._wait(draft.before)
            if not self._place_all(task, index, draft.before):
                raise DoesNotFitError

    def _place_all(self, task: Task, index: int, commands: list[Command]) -> bool:
        for block in self._to_place(task):
            if self._holder(block, task) is not None:
                continue
            resident = self._place(block, self._pinned(task), commands, index, after=index)
            if resident is None:
                return False
            if block in task.reads:
                self._load(resident, commands, due=index)
        return True

    @staticmethod
    def _to_place(task: Task) -> list[Block]:
        """The largest first: small ones find a place between."""
        blocks = [block for block in task.blocks if block not in task.takes_over]
        return sorted(blocks, key=lambda block: -block.room)

    def _reconcile(self, task: Task, commands: list[Command]) -> None:
        """Other blocks of the same tensors: stored where they hold the newest bytes."""
        for block in task.blocks:
            if self._holder(block, task) is not None:
                continue
            for item in self._residents:
                newest = item.dirty and item.block.meets(block)
                if newest and (block in task.reads or not block.covers(item.block)):
                    self._store(item, commands)
                    self._wait(commands)

    def _guard_writes(self, task: Task, draft: _Draft, previous: _Draft | None) -> None:
        """A block on its way out must have left before a kernel writes in its place."""
        for block in task.writes:
            source = task.takes_over.get(block, block)
            resident = self._find(source)
            assert resident is not None
            if any(begin < resident.end and resident.address < end for begin, end, _ in self._leaving):
                if draft.before or previous is None:
                    self._wait(draft.before)
                else:
                    previous.wait_for_stores = True
                    self._leaving.clear()

    def _store_early(self, index: int) -> list[Command]:
        """Send out, while the task computes, what is needed again only much later."""
        commands: list[Command] = []
        task = self._tasks[index]
        for item in self._residents:
            if not item.dirty or item.block in task.writes or not self._needed(item.block, index + 1):
                continue
            if item.block in task.takes_over.values():
                continue
            hit = self._next_hit(item.block, index + 1)
            if hit is None or hit - index > _SOON:
                self._store(item, commands)
        return commands

    def _bring_in(self, index: int, commands: list[Command]) -> None:
        """Operands of the next task, as far as there is room that neither task needs."""
        task, following = self._tasks[index], self._tasks[index + 1]
        for block in self._to_place(following):
            if self._holder(block, following) is not None:
                continue
            if block in following.reads and self._changes(block, task):
                continue
            pinned = self._pinned(task, following)
            resident = self._place(block, pinned, commands, index, after=index + 1)
            if resident is not None and block in following.reads:
                self._load(resident, commands, due=index + 1)
                self._due.add(index + 1)

    def _look_ahead(self, index: int, commands: list[Command]) -> None:
        """Operands of later tasks, where there is room that nobody needs and their bytes are complete."""
        for later in range(index + 2, min(index + AHEAD, len(self._tasks))):
            task = self._tasks[later]
            if not task.staged:
                return
            for block in self._to_place(task):
                if block not in task.reads or self._holder(block, task) is not None:
                    continue
                if self._changes(block, *self._tasks[index:later]):
                    continue
                address = self._free_place(block)
                if address is not None and not self._crowds(block, address, index, later):
                    resident = _Resident(block, address, False, index)
                    self._residents.append(resident)
                    due = self._next_hit(block, index + 1)
                    assert due is not None
                    self._load(resident, commands, due)
                    self._due.add(due)

    def _crowds(self, block: Block, address: int, index: int, later: int) -> bool:
        """Whether the block in that place would leave no room for a block that a task before `later` still needs."""
        pending = [
            other
            for task in self._tasks[index + 1 : later + 1]
            for other in self._to_place(task)
            if other != block and self._holder(other, task) is None
        ]
        fitting = [other for other in pending if self._free_place(other) is not None]
        self._residents.append(_Resident(block, address, False, index))
        crowds = any(self._free_place(other) is None for other in fitting)
        self._residents.pop()
        return crowds

    def _changes(self, block: Block, *tasks: Task) -> bool:
        """Whether the newest bytes of the block are not in the large memory while the tasks run."""
        made = any(written.meets(block) for task in tasks for written in task.writes)
        return made or any(item.dirty and item.block.meets(block) for item in self._residents)

    def _settle(self, index: int, draft: _Draft) -> None:
        """A task on the large memory: its tensors' newest bytes go there, and no old copies stay behind."""
        task = self._tasks[index]
        self._stored.update(block.tensor for block in task.blocks)
        for block in task.blocks:
            for item in [item for item in self._residents if item.block.meets(block)]:
                if item.dirty and block in task.reads:
                    self._store(item, draft.before)
                if block in task.writes:
                    self._drop(item, index)
        self._wait(draft.before)

    def _commit(self, index: int, draft: _Draft) -> None:
        task = self._tasks[index]
        if task.staged:
            for block in task.blocks:
                holder = self._holder(task.takes_over.get(block, block), task)
                assert holder is not None
                holder.touched = True
            for block, source in task.takes_over.items():
                resident = self._find(source)
                assert resident is not None
                self._drop(resident, max(resident.since, index - 1))
                self._residents.append(_Resident(block, resident.address, True, index, True))
            for block in task.writes:
                for item in [
                    item for item in self._residents if item.block != block and item.block.meets(block)
                ]:
                    self._drop(item, index)
                written = self._find(block)
                assert written is not None
                written.dirty = True
        following = self._pinned(self._tasks[index + 1]) if index + 1 < len(self._tasks) else set()
        for item in list(self._residents):
            if item.block in following:
                continue
            hit = self._next_hit(item.block, index + 1)
            if hit is None and not (item.dirty and self._needed(item.block, index + 1)):
                self._drop(item, index)

    def _publish(self, index: int) -> tuple[Transfer, ...]:
        """Results of a node that is complete, where the large memory does not have them yet."""
        if not self._tasks[index].last_of_node:
            return ()
        node = self._tasks[index].node
        written = {
            block.tensor for task in self._tasks[: index + 1] if task.node == node for block in task.writes
        }
        return tuple(
            Transfer(item.block, item.address, False)
            for item in self._residents
            if item.dirty and item.block.tensor in written
        )

    def _finish(self) -> tuple[Command, ...]:
        commands: list[Command] = []
        for item in list(self._residents):
            if item.dirty and item.block.tensor in self._kept:
                self._store(item, commands)
            self._drop(item, len(self._tasks))
        self._wait(commands)
        return tuple(commands)


def _is_inward(command: Command) -> bool:
    return isinstance(command, Transfer) and command.inward


def _serves(block: Block, wanted: Block) -> bool:
    """Whether the wanted block lies in one piece within the other in the small memory."""
    return block == wanted or (block.covers(wanted) and block.part.lines == wanted.part.lines == 1)
