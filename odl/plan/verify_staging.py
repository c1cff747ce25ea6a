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
    """L1, L2 and the newest bytes of every tensor by its key, each byte as the token of its write; over all programs."""

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
    player.name = "at the end"
    player.commands(staging.finish)
    player.arrive(None)
    if player.outgoing:
        raise PlanError(
            f"program '{program}' ends while '{player.outgoing[0].block.tensor}' is on its way out"
        )


class _Player:
    """`name` says in messages which task is being replayed."""

    def __init__(self, memories: Memories, places: Places, program: str) -> None:
        self.memories, self.places, self.program = memories, places, program
        self.name = ""
        self.incoming: list[tuple[Transfer, NDArray[np.int64]]] = []
        self.outgoing: list[Transfer] = []
        self.leaving = np.zeros(len(memories.large), dtype=bool)

    def task(self, number: int, staged: StagedTask) -> None:
        self.name = f"task {number} of '{self.program}' ({staged.task.call.kernel.template})"
        self.commands(staged.before)
        self.arrive(number)
        self.commands(staged.beside)
        for block in staged.task.reads:
            self._read(staged, block)
        for block in staged.task.writes:
            self._write(staged, block)
        if staged.task.staged:
            self._check_apart(staged)
        if staged.await_next:
            self.arrive(number + 1)
        if staged.wait_for_stores:
            self._leave()

    def commands(self, commands: Sequence[Command]) -> None:
        for command in commands:
            if isinstance(command, WaitForStores):
                self._leave()
            elif not isinstance(command, Transfer):
                self.arrive(None)
            elif command.inward:
                self._load(command)
            else:
                self._store(command)

    def arrive(self, due: int | None) -> None:
        """All blocks on their way in that are due for that task, or all at all, are there."""
        left = []
        for transfer, tokens in self.incoming:
            if due is None or transfer.due == due:
                self.memories.small[_span(transfer.block, transfer.address)] = tokens
            else:
                left.append((transfer, tokens))
        self.incoming = left

    def _leave(self) -> None:
        self.outgoing.clear()
        self.leaving[:] = False

    def _load(self, transfer: Transfer) -> None:
        where = self._large(transfer.block)
        if self.leaving[where].any():
            raise PlanError(
                f"{self.name}: '{transfer.block.tensor}' comes in while it is still on its way out"
            )
        span = self._undisturbed(transfer, [*self.outgoing, *(other for other, _ in self.incoming)])
        self.incoming.append((transfer, self.memories.large[where].copy()))
        self.memories.small[span] = _MOVING

    def _store(self, transfer: Transfer) -> None:
        span = self._undisturbed(transfer, [other for other, _ in self.incoming])
        where = self._large(transfer.block)
        self.memories.large[where] = self.memories.small[span]
        self.leaving[where] = True
        self.outgoing.append(transfer)

    def _undisturbed(self, transfer: Transfer, others: Sequence[Transfer]) -> slice:
        """The transfer's bytes of L1, where no other one may be moving anything."""
        span = _span(transfer.block, transfer.address)
        for other in others:
            if _meet(span, _span(other.block, other.address)):
                raise PlanError(
                    f"{self.name}: '{transfer.block.tensor}' is moved where '{other.block.tensor}' is being moved"
                )
        if not self._inside(span):
            raise PlanError(f"{self.name}: '{transfer.block.tensor}' is moved outside L1")
        return span

    def _read(self, staged: StagedTask, block: Block) -> None:
        """The kernel must find the block's newest bytes."""
        newest = self.memories.newest.get(self.places.key[block.tensor])
        if newest is None:
            raise PlanError(f"{self.name} reads '{block.tensor}', which nothing has written")
        if staged.task.staged:
            span = _span(block, staged.addresses[block])
            if not self._inside(span):
                raise PlanError(f"{self.name} reads '{block.tensor}' outside L1")
            found = self.memories.small[span]
        else:
            found = self.memories.large[self._large(block)]
        wanted = newest[_bytes(block.part)]
        wrong = np.flatnonzero(found != wanted)
        if wrong.size or (wanted == _NOTHING).any():
            why = "is still on its way in" if (found == _MOVING).any() else "is not there or not the newest"
            raise PlanError(f"{self.name} reads '{block.tensor}', which {why} ({wrong.size} bytes)")

    def _write(self, staged: StagedTask, block: Block) -> None:
        """The kernel makes the block's bytes anew, where it may."""
        tokens = self.memories.fresh(block.part.count)
        key, size = self.places.key[block.tensor], self.places.size[block.tensor]
        self.memories.newest.setdefault(key, np.full(size, _NOTHING))[_bytes(block.part)] = tokens
        if not staged.task.staged:
            self.memories.large[self._large(block)] = tokens
            return
        span = _span(block, staged.addresses[block])
        if not self._inside(span):
            raise PlanError(f"{self.name} writes '{block.tensor}' outside L1")
        for other in [*(other for other, _ in self.incoming), *self.outgoing]:
            if _meet(span, _span(other.block, other.address)):
                raise PlanError(
                    f"{self.name} writes '{block.tensor}' where '{other.block.tensor}' is being moved"
                )
        self.memories.small[span] = tokens

    def _check_apart(self, staged: StagedTask) -> None:
        """Operands share no bytes, but for a result in the place of the operand that it takes over."""
        spans = {block: _span(block, staged.addresses[block]) for block in staged.task.blocks}
        for written in staged.task.writes:
            for other, span in spans.items():
                if other == written:
                    continue
                taken_over = staged.task.takes_over.get(written) == other
                if taken_over and spans[written].start == span.start:
                    continue
                if _meet(spans[written], span):
                    raise PlanError(f"{self.name}: '{written.tensor}' and '{other.tensor}' share bytes")

    def _inside(self, span: slice) -> bool:
        return bool(span.start >= 0 and span.stop <= len(self.memories.small))

    def _large(self, block: Block) -> NDArray[np.int64]:
        """The block's bytes in L2."""
        address = self.places.large[block.tensor]
        if address is None:
            raise PlanError(f"{self.name} moves '{block.tensor}', which has no place in L2")
        return address + _bytes(block.part)


def _bytes(part: Slice) -> NDArray[np.int64]:
    """The block's bytes in its tensor, in order."""
    lines = part.offset + np.arange(part.lines)[:, None] * part.stride
    return np.asarray((lines + np.arange(part.line)[None]).reshape(-1))


def _span(block: Block, address: int) -> slice:
    """The block's bytes in L1, where its lines lie one after another."""
    return slice(address, address + block.part.count)


def _meet(one: slice, other: slice) -> bool:
    return bool(one.start < other.stop and other.start < one.stop)
