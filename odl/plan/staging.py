"""The staging of a program: which block of which tensor lies where in L1 at each task, and when the DMA engine moves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from odl.plan.tasks import Block, Task

#: Operands come in at most this many tasks ahead, each in a group of transfers that a program can wait for. Less leaves
#: the cores waiting, more fills L1 with what is needed late: ResNet8 takes 0.2 % more cycles with 2 and 0.7 % more with 8.
#: All measurements are in docs/tuning.md ("The planner's constants").
AHEAD = 4


@dataclass(frozen=True)
class Transfer:
    """The DMA engine moves a block between its tensor in L2 and byte `address` of L1.

    An inward transfer must be complete for task `due`.
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
    """A task, the L1 address of each of its blocks, and what core 0 does around it.

    The task waits for the transfers in `before`; a barrier follows them. Those in `beside` run while the cores compute.
    At the end of the task, before its barrier, core 0 waits for what is due for the next task where `await_next` is set,
    and for blocks on their way out where `wait_for_stores` is. `publish` are results that a debugger wants to see in L2.
    """

    task: Task
    addresses: Mapping[Block, int]
    before: tuple[Command, ...]
    beside: tuple[Command, ...]
    await_next: bool
    wait_for_stores: bool
    publish: tuple[Transfer, ...]


@dataclass(frozen=True)
class Stay:
    """A block's time in L1, from its first to its last task."""

    block: Block
    address: int
    first: int
    last: int


@dataclass(frozen=True)
class Staging:
    """A program's tasks with all transfers; `finish` follows the last task. `stored` names the tensors that live in L2."""

    tasks: tuple[StagedTask, ...]
    finish: tuple[Command, ...]
    stays: tuple[Stay, ...]
    stored: frozenset[str]
