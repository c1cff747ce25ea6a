"""Plans the staging of a program, task by task.

While the cores work on one task the DMA engine brings in operands of the next ones, and takes out results that are needed
much later. Bytes that nobody needs again are not stored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from odl.plan.future import Future
from odl.plan.residents import Resident, Residents
from odl.plan.staging import AHEAD, Command, StagedTask, Staging, Transfer, WaitForFetches
from odl.plan.tasks import Block, Task
from odl.plan.transfers import Transfers

#: A result that is next needed after more tasks than this is stored early, so that its place can be given away.
#: More makes a later task wait for the store: DS-CNN takes 0.6 % more cycles with 1000. Less stores what
#: is soon dead: ResNet8 moves 9 % more bytes with 1, in 0.1 % fewer cycles (docs/tuning.md).
_SOON = 3


class DoesNotFitError(Exception):
    """The blocks of one task do not fit L1 together."""


def stage(tasks: Sequence[Task], kept: Collection[str], given: Collection[str], capacity: int) -> Staging:
    """Plan the transfers of one program.

    `kept` names the tensors that must be in L2 at the end, `given` those that are there at the start. `capacity`: bytes
    of L1. DoesNotFitError when that is too little.
    """
    return _Stager(tasks, kept, given, capacity).run()


@dataclass
class _Draft:
    """A staged task in the making."""

    before: list[Command] = field(default_factory=list)
    beside: list[Command] = field(default_factory=list)
    wait_for_stores: bool = False
    addresses: dict[Block, int] = field(default_factory=dict)
    publish: list[Transfer] = field(default_factory=list)


class _Stager:
    def __init__(
        self, tasks: Sequence[Task], kept: Collection[str], given: Collection[str], capacity: int
    ) -> None:
        self._tasks, self._kept = tasks, frozenset(kept)
        self._future = Future(tasks, kept)
        self._l1 = Residents(capacity)
        # What is made in pieces is put together in L2.
        stored = {*kept, *given, *self._future.made_in_pieces()}
        self._transfers = Transfers(self._l1, self._future, stored)
        self._due: set[int] = set()  # tasks that blocks come in for beside an earlier one

    def run(self) -> Staging:
        drafts: list[_Draft] = []
        for index, task in enumerate(self._tasks):
            draft = _Draft()
            if task.staged:
                self._admit(index, draft)
                self._guard_writes(task, draft, drafts[-1] if drafts else None)
                for block in task.blocks:
                    draft.addresses[block] = self._l1.address(task.takes_over.get(block, block), task)
                self._beside(index, draft)
                self._take_over(index)
            else:
                self._settle(index, draft)
            self._forget(index)
            draft.publish = self._published(index)
            drafts.append(draft)
        finish = self._finish()
        stored = frozenset(self._transfers.stored)
        staged = tuple(self._staged(index, draft, stored) for index, draft in enumerate(drafts))
        return Staging(staged, finish, tuple(self._l1.stays), stored)

    def _staged(self, index: int, draft: _Draft, stored: Collection[str]) -> StagedTask:
        return StagedTask(
            self._tasks[index],
            draft.addresses,
            tuple(draft.before),
            tuple(draft.beside),
            index + 1 in self._due,
            draft.wait_for_stores,
            tuple(transfer for transfer in draft.publish if transfer.block.tensor in stored),
        )

    # --- before a task ----------------------------------------------------------------------------------------

    def _admit(self, index: int, draft: _Draft) -> None:
        """Have every block of the task in place; what is missing comes in now, and the task waits for it."""
        task = self._tasks[index]
        self._reconcile(task, draft.before)
        earlier = list(self._l1)
        if self._place_all(task, index, draft.before) or self._make_way(index, earlier, draft.before):
            return
        # Start over with an empty L1; what this attempt was to bring in comes in again.
        draft.before = [move for move in draft.before if not _is_inward(move)]
        if any(item.due > index for item in earlier):
            draft.before.append(WaitForFetches())
        for item in self._l1:
            item.touched = item.touched and item in earlier
            if item.dirty and (item.block in task.reads or self._future.needs(item.block, index)):
                self._transfers.store(item, draft.before)
            self._l1.drop(item, max(item.since, index - 1))
        self._transfers.wait(draft.before)
        if not self._place_all(task, index, draft.before):
            raise DoesNotFitError

    def _make_way(self, index: int, earlier: Collection[Resident], commands: list[Command]) -> bool:
        """Have the task's blocks in place after its own smallest ones came in anew, where they are not in the way."""
        task = self._tasks[index]
        own = self._l1.pinned(task)
        for item in sorted(earlier, key=lambda item: item.block.room):
            if item.block in own and not item.dirty and item.due <= index and item.block in task.reads:
                self._l1.drop(item, max(item.since, index - 1))
                if self._place_all(task, index, commands):
                    return True
        return False

    def _reconcile(self, task: Task, commands: list[Command]) -> None:
        """Other blocks of the same tensors: stored where they hold the newest bytes."""
        for block in task.blocks:
            if self._l1.holder(block, task) is not None:
                continue
            for item in self._l1:
                newest = item.dirty and item.block.meets(block)
                if newest and (block in task.reads or not block.covers(item.block)):
                    self._transfers.store(item, commands)
                    self._transfers.wait(commands)

    def _place_all(self, task: Task, index: int, commands: list[Command]) -> bool:
        for block in _to_place(task):
            if self._l1.holder(block, task) is not None:
                continue
            resident = self._transfers.place(block, self._l1.pinned(task), commands, index, after=index)
            if resident is None:
                return False
            if block in task.reads:
                self._transfers.load(resident, commands, due=index)
        return True

    def _guard_writes(self, task: Task, draft: _Draft, previous: _Draft | None) -> None:
        """A block on its way out must have left before a kernel writes in its place."""
        for block in task.writes:
            resident = self._l1.find(task.takes_over.get(block, block))
            assert resident is not None
            if self._l1.departing(resident.address, resident.end):
                if draft.before or previous is None:
                    self._transfers.wait(draft.before)
                else:
                    previous.wait_for_stores = True
                    self._l1.departures.clear()

    def _settle(self, index: int, draft: _Draft) -> None:
        """A task on L2: its tensors' newest bytes go there, and no old copies stay behind."""
        task = self._tasks[index]
        self._transfers.stored.update(block.tensor for block in task.blocks)
        for block in task.blocks:
            for item in self._l1:
                if not item.block.meets(block):
                    continue
                if item.dirty and block in task.reads:
                    self._transfers.store(item, draft.before)
                if block in task.writes:
                    self._l1.drop(item, index)
        self._transfers.wait(draft.before)

    # --- beside a task ----------------------------------------------------------------------------------------

    def _beside(self, index: int, draft: _Draft) -> None:
        self._store_early(index, draft.beside)
        if index + 1 < len(self._tasks) and self._tasks[index + 1].staged:
            self._bring_in(index, draft.beside)
            self._look_ahead(index, draft.beside)

    def _store_early(self, index: int, commands: list[Command]) -> None:
        """Send out, while the task computes, what is needed again only much later."""
        task = self._tasks[index]
        for item in self._l1:
            if not item.dirty or item.block in task.writes or not self._future.needs(item.block, index + 1):
                continue
            if item.block in task.takes_over.values():
                continue
            hit = self._future.next_hit(item.block, index + 1)
            if hit is None or hit - index > _SOON:
                self._transfers.store(item, commands)

    def _bring_in(self, index: int, commands: list[Command]) -> None:
        """Operands of the next task, as far as there is room that neither task needs."""
        task, following = self._tasks[index], self._tasks[index + 1]
        for block in _to_place(following):
            if self._l1.holder(block, following) is not None:
                continue
            if block in following.reads and self._changes(block, task):
                continue
            pinned = self._l1.pinned(task, following)
            resident = self._transfers.place(block, pinned, commands, index, after=index + 1)
            if resident is not None and block in following.reads:
                self._transfers.load(resident, commands, due=index + 1)
                self._due.add(index + 1)

    def _look_ahead(self, index: int, commands: list[Command]) -> None:
        """Operands of later tasks, where there is room that nobody needs and their bytes are complete."""
        for later in range(index + 2, min(index + AHEAD, len(self._tasks))):
            task = self._tasks[later]
            if not task.staged:
                return
            for block in _to_place(task):
                if block not in task.reads or self._l1.holder(block, task) is not None:
                    continue
                if self._changes(block, *self._tasks[index:later]):
                    continue
                address = self._l1.free_place(block)
                if address is None or self._l1.crowds(block, address, self._awaited(block, index, later)):
                    continue
                resident = Resident(block, address, index)
                self._l1.add(resident)
                due = self._future.next_hit(block, index + 1)
                assert due is not None
                self._transfers.load(resident, commands, due)
                self._due.add(due)

    def _awaited(self, block: Block, index: int, later: int) -> list[Block]:
        """The other blocks that the tasks up to `later` still need a place for."""
        return [
            other
            for task in self._tasks[index + 1 : later + 1]
            for other in _to_place(task)
            if other != block and self._l1.holder(other, task) is None
        ]

    def _changes(self, block: Block, *tasks: Task) -> bool:
        """Whether the newest bytes of the block are not in L2 while the tasks run."""
        made = any(written.meets(block) for task in tasks for written in task.writes)
        return made or any(item.dirty and item.block.meets(block) for item in self._l1)

    # --- after a task -----------------------------------------------------------------------------------------

    def _take_over(self, index: int) -> None:
        """Results are the newest bytes: in the place of the operand that they take over, and instead of older copies."""
        task = self._tasks[index]
        for block in task.blocks:
            holder = self._l1.holder(task.takes_over.get(block, block), task)
            assert holder is not None
            holder.touched = True
        for block, source in task.takes_over.items():
            resident = self._l1.find(source)
            assert resident is not None
            self._l1.drop(resident, max(resident.since, index - 1))
            self._l1.add(Resident(block, resident.address, index, dirty=True, touched=True))
        for block in task.writes:
            for item in self._l1:
                if item.block != block and item.block.meets(block):
                    self._l1.drop(item, index)
            written = self._l1.find(block)
            assert written is not None
            written.dirty = True

    def _forget(self, index: int) -> None:
        """Drop what no later task reads and nobody keeps."""
        following = self._l1.pinned(self._tasks[index + 1]) if index + 1 < len(self._tasks) else set()
        for item in self._l1:
            if item.block in following or self._future.next_hit(item.block, index + 1) is not None:
                continue
            if not (item.dirty and self._future.needs(item.block, index + 1)):
                self._l1.drop(item, index)

    def _published(self, index: int) -> list[Transfer]:
        """Results of a node that is complete, where L2 does not have them yet."""
        if not self._tasks[index].last_of_node:
            return []
        node = self._tasks[index].node
        written = {
            block.tensor for task in self._tasks[: index + 1] if task.node == node for block in task.writes
        }
        return [
            Transfer(item.block, item.address, False)
            for item in self._l1
            if item.dirty and item.block.tensor in written
        ]

    def _finish(self) -> tuple[Command, ...]:
        commands: list[Command] = []
        for item in self._l1:
            if item.dirty and item.block.tensor in self._kept:
                self._transfers.store(item, commands)
            self._l1.drop(item, len(self._tasks))
        self._transfers.wait(commands)
        return tuple(commands)


def _is_inward(command: Command) -> bool:
    return isinstance(command, Transfer) and command.inward


def _to_place(task: Task) -> list[Block]:
    """The blocks that need a place, the largest first: small ones find one between."""
    blocks = [block for block in task.blocks if block not in task.takes_over]
    return sorted(blocks, key=lambda block: -block.room)
