"""Tasks: kernel calls on blocks of tensors small enough for L1, the memory beside the cores.

A node whose operands fit is one task. A larger one is divided as its kernel's tiling allows, into as few transfers as
possible; where even that does not fit, the kernel works on the tensors where they lie in L2.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from odl.graph.ir import Graph, Node, Role
from odl.kernels.call import KernelCall
from odl.kernels.tiling import Slice, Tile, Tiling
from odl.plan.buffers import round_up
from odl.plan.storage import Storage

#: Most tiles of one node; what would need more stays in L2.
#: 16 gives ResNet8, DS-CNN and MobileNetV1 as many tasks in the default L1; the bound limits the search for divisions.
_MOST_TILES = 256
#: What a task costs beside its transfers, in bytes moved: its barrier and call. 0 gives those networks as many tasks;
#: 4096 gives MobileNetV1 one task less of 186 and moves 1 % fewer bytes (docs/tuning.md).
_EACH_TASK = 256


@dataclass(frozen=True)
class Block:
    """Part of a tensor, in bytes. `tensor` names whose bytes these are: of a view, its source."""

    tensor: str
    part: Slice

    @property
    def room(self) -> int:
        """Bytes that it takes when its lines lie one after another, up to the next aligned address."""
        return round_up(self.part.count)

    @property
    def end(self) -> int:
        """First byte of the tensor after the block."""
        return self.part.offset + (self.part.lines - 1) * self.part.stride + self.part.line

    def covers(self, other: Block) -> bool:
        """Whether every byte of the other block is certainly in this one."""
        if self == other:
            return True
        inside = self.part.offset <= other.part.offset and other.end <= self.end
        return self.tensor == other.tensor and self.part.lines == 1 and inside

    def serves(self, wanted: Block) -> bool:
        """Whether the wanted block lies in one piece within this one when this one's lines lie one after another."""
        return self == wanted or (self.covers(wanted) and self.part.lines == wanted.part.lines == 1)

    def meets(self, other: Block) -> bool:
        """Whether the blocks may have a byte in common; never False when they have."""
        if self.tensor != other.tensor or self.part.offset >= other.end or other.part.offset >= self.end:
            return False
        mine, theirs = self.part, other.part
        if mine.lines > 1 and theirs.lines > 1 and mine.stride == theirs.stride:
            first, second = mine.offset % mine.stride, theirs.offset % theirs.stride
            within_a_line = max(first + mine.line, second + theirs.line) <= mine.stride
            if within_a_line and (first + mine.line <= second or second + theirs.line <= first):
                return False
        return True


@dataclass(frozen=True)
class Task:
    """One kernel call. `operands` are the blocks that the call is given, by the kernel's names of its operands.

    `takes_over` gives the block that a written block may lie in the place of. Where `staged` is False the operands are
    whole tensors in L2. A `guarded` one may be left out: what it writes then stays as it came in.
    """

    node: int
    call: KernelCall
    operands: Mapping[str, Block]
    reads: tuple[Block, ...]
    writes: tuple[Block, ...]
    takes_over: Mapping[Block, Block]
    staged: bool
    guarded: bool
    last_of_node: bool = True

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Every block that the kernel touches, once."""
        return tuple(dict.fromkeys((*self.reads, *self.writes)))


def make_tasks(
    graph: Graph, calls: Sequence[KernelCall | None], storage: Storage, capacity: int
) -> list[Task]:
    """The tasks of a program, in order; `calls` are its nodes' kernels, None for a view."""
    tasks: list[Task] = []
    for index, (node, call) in enumerate(zip(graph.nodes, calls, strict=True)):
        if call is not None:
            maker = _Maker(graph, node, index, call, storage)
            tasks.extend(maker.tasks(capacity))
    return tasks


@dataclass(frozen=True)
class _Maker:
    """Makes the tasks of one node."""

    graph: Graph
    node: Node
    index: int
    call: KernelCall
    storage: Storage

    def tasks(self, capacity: int) -> list[Task]:
        best: list[Task] | None = None
        for tiles in self._divisions(capacity):
            if best is None or _traffic(tiles) < _traffic(best):
                best = tiles
        if best is None:
            best = [replace(self._task(self._whole()), staged=False)]
        return [replace(task, last_of_node=task is best[-1]) for task in best]

    def _divisions(self, capacity: int) -> Iterator[list[Task]]:
        """For each number of parts along the second axis, the fewest along the first that fit."""
        whole = [self._task(self._whole())]
        if _largest(whole) <= capacity:
            yield whole
            return
        tiling = self.call.kernel.tiling
        if tiling is None:
            return
        most = tiling.limits(self.call.shape)
        second = 1
        while second <= _MOST_TILES:
            found = self._fewest(tiling, second, min(most[0], _MOST_TILES // second), capacity)
            if found is not None:
                yield found
            if second >= most[1]:
                return
            second = min(2 * second, most[1])

    def _fewest(self, tiling: Tiling, second: int, most: int, capacity: int) -> list[Task] | None:
        counts = self._counts()

        def divide(parts: int) -> list[Task]:
            return [self._task(tile) for tile in tiling.tiles(self.call.shape, counts, (parts, second))]

        if _largest(divide(most)) > capacity:
            return None
        low, high = 0, most  # parts: too few, enough
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _largest(divide(middle)) <= capacity else (middle, high)
        tiles = divide(high)
        # With one more part or two, the next tile's operands can often be brought in while this one is computed.
        for parts in range(high, min(most, 2 * high + 2) + 1):
            candidate = divide(parts)
            if _largest_pair(candidate) <= capacity:
                return candidate
        return tiles

    def _counts(self) -> dict[str, int]:
        return {operand: self.graph.value(name).count for operand, name in self.call.tensors.items()}

    def _whole(self) -> Tile:
        return Tile(self.call.shape, {operand: Slice(0, count) for operand, count in self._counts().items()})

    def _task(self, tile: Tile) -> Task:
        operands: dict[str, Block] = {}
        by_name: dict[str, Block] = {}
        for operand, name in self.call.tensors.items():
            part = tile.slices[operand].scaled(self.graph.value(name).dtype.bytes)
            operands[operand] = by_name[name] = Block(self.storage.view_of[name], part)
        writes = [by_name[name] for name in self.node.writes if name in by_name]
        reads = [block for operand, block in operands.items() if self._is_read(operand)]
        return Task(
            self.index,
            replace(self.call, shape=tile.shape),
            operands,
            tuple(dict.fromkeys(reads)),
            tuple(dict.fromkeys(writes)),
            self._takes_over(by_name),
            True,
            self.node.guarded,
        )

    def _is_read(self, operand: str) -> bool:
        """What the kernel reads; an accumulator that it only clears is brought in as well, and what it may not write."""
        name = self.call.tensors[operand]
        clears = name in self.node.reads and self.graph.value(name).role is Role.PARAMETER_GRADIENT
        return clears or self.node.guarded or operand in self.call.kernel.read(self.call.context)

    def _takes_over(self, by_name: Mapping[str, Block]) -> dict[Block, Block]:
        pairs: dict[Block, Block] = {}
        for pair in self.node.operator.in_place:
            output, given = self.node.outputs.get(pair.output), self.node.inputs.get(pair.input)
            if output is None or given is None:
                continue
            written, read = by_name.get(output), by_name.get(given)
            if written is None or read is None or written.tensor == read.tensor or written in pairs:
                continue
            buffers = self.storage.buffer_of
            if buffers[output] == buffers[given] and written.part == read.part:
                pairs[written] = read
        return pairs


def _room(task: Task) -> int:
    """Bytes of the task's blocks; a block that takes over another's place needs none."""
    return sum(block.room for block in task.blocks if block not in task.takes_over)


def _largest(tasks: Sequence[Task]) -> int:
    return max(_room(task) for task in tasks)


def _largest_pair(tasks: Sequence[Task]) -> int:
    """Bytes that two tasks in a row need at most when the second's operands are there early."""
    pairs = itertools.pairwise(tasks)
    return max(
        (
            sum({block: block.room for block in (*first.blocks, *second.blocks)}.values())
            for first, second in pairs
        ),
        default=_largest(tasks),
    )


def _traffic(tasks: Sequence[Task]) -> int:
    """Bytes to move when only the task before leaves its blocks behind, and a little for every task."""
    total = 0
    before: tuple[Block, ...] = ()
    for task in tasks:
        total += _EACH_TASK + sum(block.part.count for block in task.blocks if block not in before)
        before = task.blocks
    return total
