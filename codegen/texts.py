"""What the template of net.c sees of programs: their layers as C functions, each with its kernel calls and moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from odl.graph.ir import DType, Role
from odl.project.programs import Program

C_TYPES = {
    DType.F16: "odl_f16",
    DType.F32: "odl_f32",
    DType.U8: "uint8_t",
    DType.I8: "int8_t",
    DType.U32: "uint32_t",
    DType.I32: "int32_t",
}


@dataclass(frozen=True)
class ShapeText:
    """A constant shape: its struct, name and fields."""

    type: str
    name: str
    fields: Mapping[str, int]


@dataclass(frozen=True)
class Pointer:
    """A tensor's declaration; `memory` is the macro that makes its address of the offset."""

    name: str
    type: str
    offset: int
    memory: str = "AT"


@dataclass(frozen=True)
class CallText:
    """A kernel's call: the function, and what it is given for each parameter by the kernel's name of it.

    `pointers` are the parameters that are given a tensor of their own. A `guarded` call happens only where the step counts.
    `loss`: the pointer to the loss, where the call computes it.
    """

    function: str
    arguments: Mapping[str, str]
    pointers: Mapping[str, Pointer]
    guarded: bool = False
    loss: str | None = None

    @property
    def listed(self) -> str:
        """The arguments in C."""
        return ", ".join([*self.arguments.values(), "core", "cores"])


@dataclass(frozen=True)
class Move:
    """A command to the DMA engine: "fetch" or "store" with addresses, or "stores" or "fetches" to wait for them."""

    kind: str
    slot: int | None = None
    l1: int = 0
    l2: int = 0
    bytes: int = 0
    line: int = 0
    stride: int = 0
    tensor: str = ""


@dataclass(frozen=True)
class TaskText:
    """A task: its call, the moves before and beside it, what is waited for behind it.

    `tensors` are the pointers that it declares. `comment` says which part of its node it is, where there are several, and
    where it works. `node` is the node's number in the manifest where the task completes it, and `publish` are moves that
    show its results in L2 to a debugger.
    """

    call: CallText
    tensors: Sequence[Pointer]
    comment: str = ""
    before: Sequence[Move] = ()
    beside: Sequence[Move] = ()
    publish: Sequence[Move] = ()
    slot: int = 0
    awaited: int | None = None
    wait_for_stores: bool = False
    node: int | None = None


@dataclass(frozen=True)
class LayerText:
    """What a program does for one node, as a C function; `base` is the function's name as far as the node gives it.

    `changes`: whether it is a call that changes, row by row, what outlives a step, so that a table may hold it.
    """

    base: str
    comment: str
    tasks: Sequence[TaskText]
    changes: bool = False
    name: str = ""

    @property
    def guarded(self) -> bool:
        """Whether some of it happens only where the step counts."""
        return any(task.call.guarded for task in self.tasks)

    @property
    def node(self) -> int:
        """The node's number in the manifest."""
        return next(task.node for task in self.tasks if task.node is not None)


@dataclass(frozen=True)
class TableText:
    """Layers in a row that differ in tensors and shapes alone: one C function walks them."""

    base: str
    layers: Sequence[LayerText]
    name: str = ""

    @property
    def guarded(self) -> bool:
        """Whether it happens only where the step counts."""
        return self.call.guarded

    @property
    def node(self) -> int:
        """The first node's number in the manifest."""
        return self.layers[0].node

    @property
    def call(self) -> CallText:
        """The first layer's call, which is as every other's but for what a row holds."""
        return self.layers[0].tasks[0].call

    @property
    def shape(self) -> str:
        """The struct of the shapes that the rows point to."""
        return f"odl_{self.call.arguments['s'].removeprefix('&').rpartition('_')[0]}"

    def arguments(self, row: str, address: str) -> str:
        """What the call is given, in C: what differs comes from the row; the macro `address` makes pointers of offsets."""
        given = [
            f"{address}({self.call.pointers[name].type}, {row}.{name})"
            if name in self.call.pointers
            else argument
            for name, argument in list(self.call.arguments.items())[1:]
        ]
        return ", ".join([f"{row}.shape", *given, "core", "cores"])


@dataclass(frozen=True)
class ProgramText:
    """What the source says about a program: its layers' functions, and the moves behind the last.

    `updates`: whether the optimizer's are among its calls.
    """

    index: int
    program: Program
    layers: Sequence[LayerText | TableText] = ()
    finish: Sequence[Move] = ()
    updates: bool = False

    @property
    def watches_overflow(self) -> bool:
        """Whether an overflow in it is noted."""
        return self.program.watches_overflow

    @property
    def first_guarded(self) -> int | None:
        """The first function that does something only where the step counts; None where all always happens."""
        return next((index for index, layer in enumerate(self.layers) if layer.guarded), None)

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    @property
    def title(self) -> str:
        """The program in words."""
        return self.program.title

    @property
    def takes_input(self) -> bool:
        """Whether the network's input comes in at its begin."""
        return Role.INPUT in self.program.takes

    @property
    def takes_target(self) -> bool:
        """Whether the target comes in at its begin."""
        return Role.TARGET in self.program.takes

    @property
    def tasks(self) -> list[TaskText]:
        """Every task of its layers."""
        layers = (item.layers if isinstance(item, TableText) else (item,) for item in self.layers)
        return [task for group in layers for layer in group for task in layer.tasks]

    @property
    def moves(self) -> list[Move]:
        """Every command to the DMA engine, without those that only a debugger has any use for."""
        return [*self.finish, *(move for task in self.tasks for move in (*task.before, *task.beside))]

    def same_body(self, other: ProgramText) -> bool:
        """Whether one C function can run both."""
        return replace(self, index=other.index, program=other.program) == other
