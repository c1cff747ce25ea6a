"""Template context of net.c: constant shapes, tensors at their addresses, commented kernel calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from odl.codegen.kernels import KernelSet
from odl.codegen.names import comment_text, float_literal, unique_identifiers
from odl.graph.ir import DType, Role, Value
from odl.kernels.call import Argument, KernelCall, Number, Runtime
from odl.optimizers.base import Update
from odl.plan.program import BoundNode, PlannedProgram
from odl.project.programs import Program

C_TYPES = {DType.F16: "odl_f16", DType.F32: "odl_f32", DType.U8: "uint8_t"}


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
    """A node's call; `index` is the node's number in the manifest.

    A `guarded` one happens only where the step counts. `loss`: the pointer to the loss, where the call computes it.
    """

    index: int
    function: str
    comment: str = ""
    arguments: Sequence[str] = ()
    guarded: bool = False
    loss: str | None = None


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
    """A task: its call, the moves before it, beside it and after it, and what is waited for in between."""

    call: CallText
    tensors: Sequence[Pointer]
    before: Sequence[Move]
    beside: Sequence[Move]
    publish: Sequence[Move]
    slot: int
    awaited: int | None
    wait_for_stores: bool
    done: bool


@dataclass(frozen=True)
class ProgramText:
    """What the source says about a program: calls of its nodes, or tasks where it is staged, with their pointers.

    `updates`: whether the optimizer's are among its calls.
    """

    index: int
    program: Program
    tensors: Sequence[Pointer] = ()
    nodes: Sequence[CallText] = ()
    tasks: Sequence[TaskText] = ()
    finish: Sequence[Move] = ()
    updates: bool = False

    @property
    def watches_overflow(self) -> bool:
        """Whether an overflow in it is noted."""
        return self.program.watches_overflow

    @property
    def first_guarded(self) -> int | None:
        """The first task, or node, that happens only where the step counts; None where all always happen."""
        calls = [task.call for task in self.tasks] or self.nodes
        return next((index for index, call in enumerate(calls) if call.guarded), None)

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
    def moves(self) -> list[Move]:
        """Every command to the DMA engine."""
        return [
            *self.finish,
            *(m for task in self.tasks for m in (*task.before, *task.beside, *task.publish)),
        ]

    def same_body(self, other: ProgramText) -> bool:
        """Whether one C function can run both."""
        return replace(self, index=other.index, program=other.program) == other


class ShapeSet:
    """The constant shapes of one network: calls whose shapes are equal share one, in any program."""

    def __init__(self, calls: Iterable[KernelCall]) -> None:
        self._names: dict[tuple[str, tuple[tuple[str, int], ...]], str] = {}
        numbers: dict[str, int] = {}
        for call in calls:
            if _shape_key(call) not in self._names:
                kind = call.kernel.shape.name.removeprefix("odl_")
                numbers[kind] = numbers.get(kind, 0) + 1
                self._names[_shape_key(call)] = f"{kind}_{numbers[kind]}"

    def name(self, call: KernelCall) -> str:
        """The C constant that holds a call's shape."""
        return self._names[_shape_key(call)]

    def texts(self) -> list[ShapeText]:
        """Every shape, in the order of their first calls."""
        return [ShapeText(kind, name, dict(fields)) for (kind, fields), name in self._names.items()]


def _shape_key(call: KernelCall) -> tuple[str, tuple[tuple[str, int], ...]]:
    return call.kernel.shape.name, tuple(call.shape.items())


def program_text(
    index: int,
    program: Program,
    planned: PlannedProgram,
    kernels: KernelSet,
    shapes: ShapeSet,
) -> ProgramText:
    """A program whose kernels work in the arena."""
    called = [item for item in planned.nodes if item.call is not None]
    used = _used_values(called)
    names = unique_identifiers(used, kernels.prefix)
    tensors = [
        Pointer(names[value], C_TYPES[planned.graph.value(value).dtype], planned.offsets[value])
        for value in used
    ]
    nodes = [_node(number, item, planned, names, kernels, shapes) for number, item in enumerate(called)]
    return ProgramText(index, program, tensors, nodes, updates=updates(planned))


def updates(planned: PlannedProgram) -> bool:
    """Whether the optimizer's updates are among the program's nodes."""
    return any(isinstance(item.node.operator, Update) for item in planned.nodes)


def serving_functions(programs: Sequence[ProgramText]) -> dict[str, str]:
    """By program, the one whose C function runs it: of programs with equal calls net.c holds only the last."""
    return {
        program.name: next(other.name for other in reversed(programs) if other.same_body(program))
        for program in programs
    }


def _used_values(called: Sequence[BoundNode]) -> list[str]:
    used: dict[str, None] = {}
    for item in called:
        assert item.call is not None
        used.update(dict.fromkeys(item.call.tensors.values()))
    return list(used)


def _node(
    number: int,
    item: BoundNode,
    program: PlannedProgram,
    names: Mapping[str, str],
    kernels: KernelSet,
    shapes: ShapeSet,
) -> CallText:
    call = item.call
    assert call is not None
    pointers = {operand: names[value] for operand, value in call.tensors.items()}
    return CallText(
        number,
        kernels.name(call),
        describe(item, program),
        call_arguments(call, kernels, shapes, pointers),
        item.node.guarded,
        loss_pointer(item, program, pointers),
    )


def loss_pointer(item: BoundNode, program: PlannedProgram, pointers: Mapping[str, str]) -> str | None:
    """The pointer to the loss where the node computes it; `pointers` are its operands'."""
    assert item.call is not None
    tensors = item.call.tensors.items()
    made = (operand for operand, name in tensors if program.graph.value(name).role is Role.LOSS)
    return next((pointers[operand] for operand in made), None)


def call_arguments(
    call: KernelCall, kernels: KernelSet, shapes: ShapeSet, names: Mapping[str, str]
) -> list[str]:
    """What a call passes, in C; `names` has the pointer of each operand that is given."""
    arguments = [
        _argument(call.arguments[parameter.name], names.get(parameter.name, "NULL"), kernels.prefix)
        for parameter in call.kernel.present(call.context)
    ]
    return [f"&{shapes.name(call)}", *arguments, "core", "cores"]


def _argument(argument: Argument, pointer: str, prefix: str) -> str:
    if isinstance(argument, Number):
        return float_literal(argument.value)
    if isinstance(argument, Runtime):
        return f"{prefix}_state.{argument.name}"
    return pointer


def describe(item: BoundNode, program: PlannedProgram) -> str:
    """Operator and shapes, for the comment above a call."""
    node, graph = item.node, program.graph
    inputs = " ".join(_dimensions(graph.value(name)) for name in node.reads[:1])
    outputs = " ".join(_dimensions(graph.value(name)) for name in node.results[:1])
    text = f"{comment_text(node.name)}: {node.operator.title} {inputs}"
    if outputs:
        text += f" -> {outputs}"
    window = getattr(node.operator, "window", None)
    if window is not None:
        text += (
            f", {window.kernel[0]}x{window.kernel[1]} window, stride {window.stride[0]}x{window.stride[1]}"
        )
        text += ", padding " + "/".join(str(side) for side in window.padding)
    if item.macs:
        text += f", {item.macs:,} MACs"
    return text


def _dimensions(value: Value) -> str:
    """The tensor's dimensions in memory order."""
    order = value.layout.permutation(len(value.shape))
    return "x".join(str(value.shape[axis]) for axis in order)


def kernel_calls(programs: Sequence[PlannedProgram]) -> list[KernelCall]:
    """Every kernel call of every program; where nodes are divided into tasks, the tasks' calls."""
    calls: list[KernelCall] = []
    for program in programs:
        if program.staging is not None:
            calls += [staged.task.call for staged in program.staging.tasks]
        else:
            calls += [item.call for item in program.nodes if item.call is not None]
    return calls
