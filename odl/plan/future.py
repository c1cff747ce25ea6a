"""What the tasks of a program still do with each tensor's bytes; all of it is known before the first transfer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from odl.plan.tasks import Block, Task


@dataclass(frozen=True)
class _Use:
    """One task's use of a block."""

    task: int
    block: Block
    read: bool
    written: bool


class Future:
    """Answers what happens to a block from some task on. `kept` names the tensors that outlive the program."""

    def __init__(self, tasks: Sequence[Task], kept: Collection[str]) -> None:
        self._kept = frozenset(kept)
        self._uses: dict[str, list[_Use]] = {}
        for index, task in enumerate(tasks):
            for block in task.blocks:
                use = _Use(index, block, block in task.reads, block in task.writes)
                self._uses.setdefault(block.tensor, []).append(use)

    def next_hit(self, block: Block, index: int) -> int | None:
        """The next task from `index` on that can read its operand in the block, unless the block's bytes change before."""
        for use in self._uses[block.tensor]:
            if use.task < index:
                continue
            if use.read and block.serves(use.block):
                return use.task
            if use.written and use.block.meets(block):
                return None
        return None

    def needs(self, block: Block, index: int) -> bool:
        """Whether the block's bytes are read from task `index` on, or kept, before they are all overwritten."""
        for use in self._uses[block.tensor]:
            if use.task < index:
                continue
            if use.read and use.block.meets(block):
                return True
            if use.written and use.block.covers(block):
                return False
        return block.tensor in self._kept

    def made_in_pieces(self) -> set[str]:
        """The tensors that several blocks make together."""
        return {
            tensor
            for tensor, uses in self._uses.items()
            if len({use.block for use in uses if use.written}) > 1
        }
