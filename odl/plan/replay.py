"""An independent check of memory plans: replays what the network reads and writes on an array of byte owners.

Nothing is taken from the planner but the addresses: not the lifetimes, not the sizes of tensors, not the
packing. A write makes a tensor the owner of its bytes; a read demands that it still owns them all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from odl.errors import CheckFailedError
from odl.plan.buffers import ALIGNMENT, Buffer, MemoryPlan, Placement

#: The replay's name for the time before the first call, when persistent tensors got their bytes.
_BEFORE = -1


class PlanError(CheckFailedError):
    """A memory plan does not hold; the message names tensor, step, bytes and what is in their place."""

    def __init__(self, message: str) -> None:
        super().__init__(f"memory plan: {message}")


@dataclass(frozen=True)
class Access:
    """What one step of the schedule reads and writes, as names of tensors.

    Tensors that a step reads and writes under one name, or under two names in one buffer at one address, are
    updated in place; all others that it reads must not share bytes with those that it writes.
    """

    step: int
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def verify_plan(
    plan: MemoryPlan,
    accesses: Sequence[Access],
    *,
    storage: Mapping[str, str],
    sizes: Mapping[str, int],
    initial: Collection[str] = frozenset(),
    runs: int = 2,
) -> None:
    """Replay `accesses` `runs` times over the addresses of the plan; PlanError when it does not hold.

    `storage` maps each tensor to its buffer, `sizes` to its bytes. `initial` names the tensors that have their bytes
    before the first run (weights, optimizer state); they must have them again at the end of every run. What a caller
    fills in before each run (inputs) is written by a first access of its own.
    """
    tensors = _locate(_check_layout(plan), storage, sizes)
    _check_steps(accesses, tensors)
    _check_initial(initial, tensors, plan.memory)
    for access in accesses:
        _check_step(access, tensors, plan.memory)
    memory = _Memory(plan)
    for name in initial:
        memory.write(tensors[name], _BEFORE)
    for run in range(1, runs + 1):
        for access in accesses:
            for name in access.reads:
                memory.demand(tensors[name], f"step {access.step} of run {run} reads")
            for name in access.writes:
                memory.write(tensors[name], access.step)
        for name in sorted(initial):
            memory.demand(tensors[name], f"after run {run} the next call needs")


def check_capacity(plan: MemoryPlan) -> None:
    """PlanError where the arena is larger than its memory."""
    if plan.capacity is not None and plan.arena_bytes > plan.capacity:
        raise PlanError(f"arena of {plan.arena_bytes} bytes in '{plan.memory}', which has {plan.capacity}")


@dataclass(frozen=True)
class _Tensor:
    """A tensor at the bytes `start`..`end` (excluded) of the arena."""

    name: str
    buffer: Buffer
    start: int
    end: int

    def shared_bytes(self, other: _Tensor) -> int:
        return max(0, min(self.end, other.end) - max(self.start, other.start))


class _Memory:
    """Which write each byte of an arena comes from; -1 for none."""

    def __init__(self, plan: MemoryPlan) -> None:
        self._name = plan.memory
        self._owner: NDArray[np.int32] = np.full(plan.arena_bytes, -1, dtype=np.int32)
        self._writes: list[tuple[str, int]] = []
        self._latest: dict[str, int] = {}

    def write(self, tensor: _Tensor, step: int) -> None:
        self._latest[tensor.name] = len(self._writes)
        self._owner[tensor.start : tensor.end] = len(self._writes)
        self._writes.append((tensor.name, step))

    def demand(self, tensor: _Tensor, place: str) -> None:
        """PlanError unless every byte of the tensor comes from its latest write."""
        latest = self._latest.get(tensor.name)
        if latest is None and tensor.start < tensor.end:
            raise PlanError(f"{place} tensor '{tensor.name}', which nothing has written before")
        owner = self._owner[tensor.start : tensor.end]
        wrong = np.flatnonzero(owner != latest)
        if wrong.size == 0:
            return
        first = int(wrong[0])
        intruder, step = self._writes[int(owner[first])]
        when = "before the first run" if step == _BEFORE else f"at step {step}"
        raise PlanError(
            f"{place} tensor '{tensor.name}', but {wrong.size} of its {owner.size} bytes, the first at "
            f"byte {tensor.start + first} of '{self._name}', were overwritten by '{intruder}' {when}"
        )


# ------------------------------------------------------------------------------------ what holds at any time
def _check_layout(plan: MemoryPlan) -> dict[str, Placement]:
    """Placements by buffer name, after the checks that need no schedule."""
    check_capacity(plan)
    found: dict[str, Placement] = {}
    for item in plan.placements:
        if item.buffer.name in found:
            raise PlanError(f"buffer '{item.buffer.name}' has two places")
        found[item.buffer.name] = item
        _check_place(plan, item)
    persistent = [item for item in plan.placements if item.buffer.persistent and item.buffer.size_bytes]
    for lower, upper in pairwise(sorted(persistent, key=lambda item: item.offset)):
        if upper.offset < lower.end:
            raise PlanError(
                f"persistent buffers '{lower.buffer.name}' and '{upper.buffer.name}' share bytes "
                f"{upper.offset} to {min(lower.end, upper.end)} of '{plan.memory}'"
            )
    return found


def _check_place(plan: MemoryPlan, item: Placement) -> None:
    buffer = item.buffer
    span = f"buffer '{buffer.name}' at bytes {item.offset} to {item.end} of '{plan.memory}'"
    region = f"the persistent region, which ends at {plan.persistent_bytes}"
    if item.offset < 0 or item.end > plan.arena_bytes:
        raise PlanError(f"{span} leaves the arena of {plan.arena_bytes} bytes")
    if item.offset % ALIGNMENT:
        raise PlanError(
            f"buffer '{buffer.name}' at byte {item.offset} of '{plan.memory}' is not aligned to {ALIGNMENT} bytes"
        )
    if buffer.size_bytes == 0:
        return
    if buffer.persistent and item.end > plan.persistent_bytes:
        raise PlanError(f"persistent {span} leaves {region}")
    if not buffer.persistent and item.offset < plan.persistent_bytes:
        raise PlanError(f"transient {span} lies in {region}")


def _locate(
    placements: Mapping[str, Placement], storage: Mapping[str, str], sizes: Mapping[str, int]
) -> dict[str, _Tensor]:
    """The bytes of every tensor; its buffer must have a place and be large enough."""
    tensors: dict[str, _Tensor] = {}
    for name, buffer in storage.items():
        if buffer not in placements:
            raise PlanError(f"tensor '{name}' lies in buffer '{buffer}', which has no place")
        if name not in sizes:
            raise PlanError(f"the size of tensor '{name}' is not known")
        item, size = placements[buffer], sizes[name]
        if not 0 <= size <= item.buffer.size_bytes:
            raise PlanError(
                f"tensor '{name}' is bytes 0 to {size} of buffer '{buffer}', which has {item.buffer.size_bytes}"
            )
        tensors[name] = _Tensor(name, item.buffer, item.offset, item.offset + size)
    return tensors


# ----------------------------------------------------------------------------------- what holds in each step
def _check_steps(accesses: Sequence[Access], tensors: Mapping[str, _Tensor]) -> None:
    """Steps in order, and every tensor known."""
    last: int | None = None
    for access in accesses:
        if last is not None and access.step <= last:
            raise PlanError(f"step {access.step} comes after step {last}")
        last = access.step
        for name in (*access.reads, *access.writes):
            if name not in tensors:
                raise PlanError(f"step {access.step} uses tensor '{name}', which has no storage")


def _check_initial(initial: Collection[str], tensors: Mapping[str, _Tensor], memory: str) -> None:
    """Tensors that survive between calls lie in persistent buffers, apart from each other."""
    for name in sorted(initial):
        if name not in tensors:
            raise PlanError(f"tensor '{name}', kept between calls, has no storage")
        buffer = tensors[name].buffer
        if not buffer.persistent:
            raise PlanError(
                f"tensor '{name}' must survive between calls, but its buffer '{buffer.name}' is transient"
            )
    kept = [tensors[name] for name in initial if tensors[name].start < tensors[name].end]
    for lower, upper in pairwise(sorted(kept, key=lambda tensor: (tensor.start, tensor.name))):
        shared = lower.shared_bytes(upper)
        if shared:
            raise PlanError(
                f"tensors '{lower.name}' and '{upper.name}', both kept between calls, share {shared} "
                f"bytes from byte {upper.start} of '{memory}' on"
            )


def _check_step(access: Access, tensors: Mapping[str, _Tensor], memory: str) -> None:
    """A step's results share no bytes with each other, nor with operands that are not updated in place."""

    def forbid_sharing(verb: str, written: _Tensor, other: _Tensor) -> None:
        shared = written.shared_bytes(other)
        if shared:
            raise PlanError(
                f"step {access.step} writes tensor '{written.name}' and {verb} tensor '{other.name}', which share "
                f"{shared} bytes from byte {max(written.start, other.start)} of '{memory}' on"
            )

    writes = [tensors[name] for name in dict.fromkeys(access.writes)]
    for index, written in enumerate(writes):
        for other in writes[index + 1 :]:
            forbid_sharing("writes", written, other)
        for read in (tensors[name] for name in access.reads):
            if (read.buffer, read.start) != (written.buffer, written.start):
                forbid_sharing("reads", written, read)
