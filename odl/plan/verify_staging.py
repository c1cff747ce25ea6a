"""An independent check of staged programs: every byte carries the name of the write that made it.

Tasks and moves are replayed on both memories. A kernel must find the newest bytes of all its operands at their
addresses, and must not write where the DMA engine still reads; a move must not disturb what another one is moving.
Nothing is taken from the planner but commands and addresses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from odl.kernels.tiling import Slice
from odl.plan.replay import PlanError
from odl.plan.staging import Command, StagedTask, Staging, Transfer, WaitForStores
from odl.plan.tasks import Block

_NOTHING = -1
_MOVING = -2


@dataclass
class Memories:
    """Both memories and the newest bytes of every tensor; lives over several programs.

    `places` and `sizes` give every tensor's address in L2 and its bytes, under its key.
    """

    small: NDArray[np.int64]
    large: NDArray[np.int64]
    newest: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    writes: int = 0

    @staticmethod
    def of(small_bytes: int, large_bytes: int) -> Memories:
        """Memories with nothing in them."""
        return Memories(np.full(small_bytes, _NOTHING), np.full(large_bytes, _NOTHING))

    def fresh(self, count: int) -> NDArray[np.int64]:
        """Tokens of a new write of `count` bytes, all different."""
        first = self.writes
        self.writes += count
        return np.arange(first, first + count)


@dataclass(frozen=True)
class Places:
    """A program's tensors: key across programs, bytes, and address in L2 (None: it has none)."""

    key: Mapping[str, str]
    size: Mapping[str, int]
    large: Mapping[str, int | None]


def give(memories: Memories, places: Places, tensor: str) -> None:
    """The caller, or the time before the first call, writes a tensor in L2."""
    tokens = memories.fresh(places.size[tensor])
    address = places.large[tensor]
    if address is None:
        raise PlanError(f"tensor '{tensor}' comes from outside but has no place in L2")
    memories.large[address : address + len(tokens)] = tokens
    memories.newest[places.key[tensor]] = tokens.copy()


def demand(memories: Memories, places: Places, tensor: str, reader: str) -> None:
    """PlanError unless L2 holds the tensor's newest bytes."""
    address = places.large[tensor]
    newest = memories.newest.get(places.key[tensor])
    if address is None or newest is None:
        raise PlanError(f"{reader} needs tensor '{tensor}', which is not in L2")
    wrong = np.flatnonzero(memories.large[address : address + len(newest)] != newest)
    if wrong.size:
        raise PlanError(
            f"{reader} needs tensor '{tensor}', but {wrong.size} of its {len(newest)} bytes in L2, the "
            f"first at byte {address + int(wrong[0])}, are not the newest"
        )


def replay(memories: Memories, places: Places, staging: Staging, program: str) -> None:
    """Run one program's tasks and moves; PlanError at the first thing that is wrong."""
    player = _Player(memories, places, program)
    for number, task in enumerate(staging.tasks):
        player.task(number, task)
    player.commands(staging.finish, "at the end")
    player.arrive(None)
    if player.outgoing:
        raise PlanError(
            f"program '{program}' ends while '{player.outgoing[0].block.tensor}' is on its way out"
        )


class _Player:
    def __init__(self, memories: Memories, places: Places, program: str) -> None:
        self.memories, self.places, self.program = memories, places, program
        self.incoming: list[tuple[Transfer, NDArray[np.int64]]] = []
        self.outgoing: list[Transfer] = []
        self.leaving = np.zeros(len(memories.large), dtype=bool)

    def task(self, number: int, staged: StagedTask) -> None:
        name = f"task {number} of '{self.program}' ({staged.task.call.kernel.template})"
        self.commands(staged.before, name)
        self.arrive(number)
        self.commands(staged.beside, name)
        self._run(staged, name)
        if staged.await_next:
            self.arrive(number + 1)
        if staged.wait_for_stores:
            self._leave()

    def commands(self, commands: Sequence[Command], name: str) -> None:
        for command in commands:
            if isinstance(command, WaitForStores):
                self._leave()
            elif not isinstance(command, Transfer):
                self.arrive(None)
            elif command.inward:
                self._load(command, name)
            else:
                self._store(command, name)

    def arrive(self, due: int | None) -> None:
        """All blocks on their way in that are due for that task, or all at all, are there."""
        left = []
        for transfer, tokens in self.incoming:
            if due is None or transfer.due == due:
                self.memories.small[_dense(transfer)] = tokens
            else:
                left.append((transfer, tokens))
        self.incoming = left

    def _leave(self) -> None:
        self.outgoing.clear()
        self.leaving[:] = False

    def _load(self, transfer: Transfer, name: str) -> None:
        where = self._large(transfer.block, name)
        if self.leaving[where].any():
            raise PlanError(f"{name}: '{transfer.block.tensor}' comes in while it is still on its way out")
        for other in self.outgoing:
            self._apart(transfer, other, name)
        for other, _ in self.incoming:
            self._apart(transfer, other, name)
        self._inside(transfer, name)
        self.incoming.append((transfer, self.memories.large[where].copy()))
        self.memories.small[_dense(transfer)] = _MOVING

    def _store(self, transfer: Transfer, name: str) -> None:
        self._inside(transfer, name)
        for other, _ in self.incoming:
            self._apart(transfer, other, name)
        where = self._large(transfer.block, name)
        self.memories.large[where] = self.memories.small[_dense(transfer)]
        self.leaving[where] = True
        self.outgoing.append(transfer)

    def _run(self, staged: StagedTask, name: str) -> None:
        task = staged.task
        for block in task.reads:
            self._check(staged, block, name)
        for block in task.writes:
            if task.staged:
                self._free(staged, block, name)
            tensor, key = block.tensor, self.places.key[block.tensor]
            size = self.places.size[tensor]
            newest = self.memories.newest.setdefault(key, np.full(size, _NOTHING))
            tokens = self.memories.fresh(block.part.count)
            newest[_bytes(block.part)] = tokens
            if task.staged:
                self.memories.small[_span(staged.addresses[block], block.part.count)] = tokens
            else:
                self.memories.large[self._large(block, name)] = tokens
        self._apart_writes(staged, name)

    def _check(self, staged: StagedTask, block: Block, name: str) -> None:
        newest = self.memories.newest.get(self.places.key[block.tensor])
        if newest is None:
            raise PlanError(f"{name} reads '{block.tensor}', which nothing has written")
        if staged.task.staged:
            if not 0 <= staged.addresses[block] <= len(self.memories.small) - block.part.count:
                raise PlanError(f"{name} reads '{block.tensor}' outside L1")
            found = self.memories.small[_span(staged.addresses[block], block.part.count)]
        else:
            found = self.memories.large[self._large(block, name)]
        wanted = newest[_bytes(block.part)]
        wrong = np.flatnonzero(found != wanted)
        if wrong.size or (wanted == _NOTHING).any():
            why = "is still on its way in" if (found == _MOVING).any() else "is not there or not the newest"
            raise PlanError(f"{name} reads '{block.tensor}', which {why} ({wrong.size} bytes)")

    def _free(self, staged: StagedTask, block: Block, name: str) -> None:
        """The kernel may write to the block's place."""
        begin, end = staged.addresses[block], staged.addresses[block] + block.part.count
        if begin < 0 or end > len(self.memories.small):
            raise PlanError(f"{name} writes '{block.tensor}' outside L1")
        moving = [other for other, _ in self.incoming] + self.outgoing
        for other in moving:
            if other.address < end and begin < other.address + other.block.part.count:
                raise PlanError(f"{name} writes '{block.tensor}' where '{other.block.tensor}' is being moved")

    def _apart_writes(self, staged: StagedTask, name: str) -> None:
        """Operands share no bytes, but for a result in the place of the operand that it takes over."""
        if not staged.task.staged:
            return
        spans = [(block, staged.addresses[block]) for block in staged.task.blocks]
        for written, at in spans:
            if written not in staged.task.writes:
                continue
            for other, there in spans:
                allowed = other == written or staged.task.takes_over.get(written) == other
                if allowed and (other == written or at == there):
                    continue
                if at < there + other.part.count and there < at + written.part.count:
                    raise PlanError(f"{name}: '{written.tensor}' and '{other.tensor}' share bytes")

    def _apart(self, transfer: Transfer, other: Transfer, name: str) -> None:
        end, other_end = (item.address + item.block.part.count for item in (transfer, other))
        if transfer.address < other_end and other.address < end:
            raise PlanError(
                f"{name}: '{transfer.block.tensor}' is moved where '{other.block.tensor}' is being moved"
            )

    def _inside(self, transfer: Transfer, name: str) -> None:
        end = transfer.address + transfer.block.part.count
        if transfer.address < 0 or end > len(self.memories.small):
            raise PlanError(f"{name}: '{transfer.block.tensor}' is moved outside L1")

    def _large(self, block: Block, name: str) -> NDArray[np.int64]:
        address = self.places.large[block.tensor]
        if address is None:
            raise PlanError(f"{name} moves '{block.tensor}', which has no place in L2")
        return address + _bytes(block.part)


def _bytes(part: Slice) -> NDArray[np.int64]:
    """The block's bytes in its tensor, in order."""
    lines = part.offset + np.arange(part.lines)[:, None] * part.stride
    return np.asarray((lines + np.arange(part.line)[None]).reshape(-1))


def _span(address: int, count: int) -> slice:
    return slice(address, address + count)


def _dense(transfer: Transfer) -> slice:
    return _span(transfer.address, transfer.block.part.count)
