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
from odl.plan.buffers import MemoryPlan, Placement

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
    plans: MemoryPlan | Mapping[str, MemoryPlan],
    accesses: Sequence[Access],
    *,
    storage: Mapping[str, str],
    sizes: Mapping[str, int],
    initial: Collection[str] = frozenset(),
    offsets: Mapping[str, int] | None = None,
    runs: int = 2,
) -> None:
    """Replay `accesses` `runs` times over the addresses of the plans; PlanError when one does not hold.

    `storage` maps each tensor to its buffer, `sizes` to its bytes, `offsets` to its first byte in the buffer
    (0 when not given). `initial` names the tensors that have their bytes before the first run (weights,
    optimizer state); they must have them again at the end of every run. What a caller fills in before each
    run (inputs) is written by a first access of its own.
    """
    mapping = {plans.memory: plans} if isinstance(plans, MemoryPlan) else plans
    placements = _check_layout(mapping)
    tensors = _locate(placements, storage, sizes, offsets or {})
    _check_steps(accesses, tensors)
    _check_initial(initial, tensors)
    for access in accesses:
        _check_step(access, tensors)
    memories = {memory: _Memory(plan.arena_bytes) for memory, plan in mapping.items()}
    for name in initial:
        memories[tensors[name].memory].write(tensors[name], _BEFORE)
    for run in range(1, runs + 1):
        for access in accesses:
            for name in access.reads:
                place = f"step {access.step} of run {run} reads"
                memories[tensors[name].memory].demand(tensors[name], place)
            for name in access.writes:
                memories[tensors[name].memory].write(tensors[name], access.step)
        for name in sorted(initial):
            memories[tensors[name].memory].demand(tensors[name], f"after run {run} the next call needs")


@dataclass(frozen=True)
class _Tensor:
    """A tensor at its bytes `start`..`end` (excluded) of a memory's arena."""

    name: str
    buffer: str
    memory: str
    start: int
    end: int
    persistent: bool

    def shared_bytes(self, other: _Tensor) -> int:
        if self.memory != other.memory:
            return 0
        return max(0, min(self.end, other.end) - max(self.start, other.start))


class _Memory:
    """Which write each byte of an arena comes from; -1 for none."""

    def __init__(self, size: int) -> None:
        self._owner: NDArray[np.int32] = np.full(size, -1, dtype=np.int32)
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
            f"byte {tensor.start + first} of '{tensor.memory}', were overwritten by '{intruder}' {when}"
        )


# ------------------------------------------------------------------------------------ what holds at any time
def _check_layout(plans: Mapping[str, MemoryPlan]) -> dict[str, tuple[str, Placement]]:
    """Placements by buffer name with their memory, after the checks that need no schedule."""
    found: dict[str, tuple[str, Placement]] = {}
    for memory, plan in plans.items():
        if plan.capacity is not None and plan.arena_bytes > plan.capacity:
            raise PlanError(f"arena of {plan.arena_bytes} bytes in '{memory}', which has {plan.capacity}")
        for item in plan.placements:
            if item.buffer.name in found:
                raise PlanError(f"buffer '{item.buffer.name}' has two places")
            found[item.buffer.name] = (memory, item)
            _check_place(plan, memory, item)
        _check_persistent(plan, memory)
    return found


def _check_place(plan: MemoryPlan, memory: str, item: Placement) -> None:
    buffer = item.buffer
    span = f"bytes {item.offset} to {item.end} of '{memory}'"
    if buffer.memory != memory:
        raise PlanError(f"buffer '{buffer.name}' is meant for '{buffer.memory}' but lies at {span}")
    if item.offset < 0 or item.end > plan.arena_bytes:
        raise PlanError(f"buffer '{buffer.name}' at {span} leaves the arena of {plan.arena_bytes} bytes")
    if item.offset % buffer.alignment:
        raise PlanError(
            f"buffer '{buffer.name}' at byte {item.offset} of '{memory}' is not aligned to "
            f"{buffer.alignment} bytes"
        )
    if buffer.size_bytes == 0:
        return
    if buffer.persistent and item.end > plan.persistent_bytes:
        raise PlanError(
            f"persistent buffer '{buffer.name}' at {span} leaves the persistent region, which ends at "
            f"{plan.persistent_bytes}"
        )
    if not buffer.persistent and item.offset < plan.persistent_bytes:
        raise PlanError(
            f"transient buffer '{buffer.name}' at {span} lies in the persistent region, which ends at "
            f"{plan.persistent_bytes}"
        )


def _check_persistent(plan: MemoryPlan, memory: str) -> None:
    persistent = sorted(
        (item for item in plan.placements if item.buffer.persistent and item.buffer.size_bytes),
        key=lambda item: item.offset,
    )
    for lower, upper in pairwise(persistent):
        if upper.offset < lower.end:
            raise PlanError(
                f"persistent buffers '{lower.buffer.name}' and '{upper.buffer.name}' share bytes "
                f"{upper.offset} to {min(lower.end, upper.end)} of '{memory}'"
            )


def _locate(
    placements: Mapping[str, tuple[str, Placement]],
    storage: Mapping[str, str],
    sizes: Mapping[str, int],
    offsets: Mapping[str, int],
) -> dict[str, _Tensor]:
    """The bytes of every tensor; its buffer must have a place and be large enough."""
    tensors: dict[str, _Tensor] = {}
    for name, buffer in storage.items():
        if buffer not in placements:
            raise PlanError(f"tensor '{name}' lies in buffer '{buffer}', which has no place")
        if name not in sizes:
            raise PlanError(f"the size of tensor '{name}' is not known")
        memory, item = placements[buffer]
        offset, size = offsets.get(name, 0), sizes[name]
        if offset < 0 or size < 0 or offset + size > item.buffer.size_bytes:
            raise PlanError(
                f"tensor '{name}' is bytes {offset} to {offset + size} of buffer '{buffer}', which has "
                f"{item.buffer.size_bytes}"
            )
        start = item.offset + offset
        tensors[name] = _Tensor(name, buffer, memory, start, start + size, item.buffer.persistent)
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


def _check_initial(initial: Collection[str], tensors: Mapping[str, _Tensor]) -> None:
    """Tensors that survive between calls lie in persistent buffers, apart from each other."""
    for name in sorted(initial):
        if name not in tensors:
            raise PlanError(f"tensor '{name}', kept between calls, has no storage")
        tensor = tensors[name]
        if not tensor.persistent:
            raise PlanError(
                f"tensor '{name}' must survive between calls, but its buffer '{tensor.buffer}' is transient"
            )
    ordered = sorted(
        (tensors[name] for name in initial if tensors[name].start < tensors[name].end),
        key=lambda tensor: (tensor.memory, tensor.start, tensor.name),
    )
    for lower, upper in pairwise(ordered):
        shared = lower.shared_bytes(upper)
        if shared:
            raise PlanError(
                f"tensors '{lower.name}' and '{upper.name}', both kept between calls, share {shared} "
                f"bytes from byte {upper.start} of '{upper.memory}' on"
            )


def _check_step(access: Access, tensors: Mapping[str, _Tensor]) -> None:
    """A step's results share no bytes with each other, nor with operands that are not updated in place."""
    writes = [tensors[name] for name in dict.fromkeys(access.writes)]
    for index, written in enumerate(writes):
        for other in writes[index + 1 :]:
            _forbid_sharing(access.step, "writes", written, other)
        for name in access.reads:
            read = tensors[name]
            in_place = read.buffer == written.buffer and read.start == written.start
            if not in_place:
                _forbid_sharing(access.step, "reads", written, read)


def _forbid_sharing(step: int, verb: str, written: _Tensor, other: _Tensor) -> None:
    shared = written.shared_bytes(other)
    if shared:
        raise PlanError(
            f"step {step} writes tensor '{written.name}' and {verb} tensor '{other.name}', which share "
            f"{shared} bytes from byte {max(written.start, other.start)} of '{written.memory}' on"
        )
