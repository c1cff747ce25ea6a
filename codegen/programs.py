"""Programs that run in one memory as the template of net.c sees them, and what all programs' calls have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from odl.codegen.kernels import KernelSet
from odl.codegen.layers import containers, layer_base, tabled
from odl.codegen.names import comment_text, float_literal, unique_identifiers
from odl.codegen.texts import C_TYPES, CallText, LayerText, Pointer, ProgramText, ShapeText, TaskText
from odl.graph.ir import Role, Value
from odl.kernels.call import Argument, KernelCall, Number, Runtime
from odl.optimizers.base import Update
from odl.plan.program import BoundNode, PlannedProgram
from odl.project.programs import Program


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
    inner = containers(planned.graph)
    layers = [
        LayerText(
            layer_base(planned.graph, item.node, inner),
            describe(item, planned),
            [_task(number, item, planned, kernels, shapes)],
            changes=item.node.operator.pass_name == "update",
        )
        for number, item in enumerate(called)
    ]
    return ProgramText(index, program, tabled(layers), updates=updates(planned))


def updates(planned: PlannedProgram) -> bool:
    """Whether the optimizer's updates are among the program's nodes."""
    return any(isinstance(item.node.operator, Update) for item in planned.nodes)


def serving_functions(programs: Sequence[ProgramText]) -> dict[str, str]:
    """By program, the one whose C function runs it: of programs with equal calls net.c holds only the last."""
    return {
        program.name: next(other.name for other in reversed(programs) if other.same_body(program))
        for program in programs
    }


def _task(
    number: int, item: BoundNode, program: PlannedProgram, kernels: KernelSet, shapes: ShapeSet
) -> TaskText:
    call = item.call
    assert call is not None
    names = unique_identifiers(list(dict.fromkeys(call.tensors.values())), kernels.prefix)
    pointers = {
        operand: Pointer(names[value], C_TYPES[program.graph.value(value).dtype], program.offsets[value])
        for operand, value in call.tensors.items()
    }
    text = CallText(
        kernels.name(call),
        call_arguments(call, kernels, shapes, pointers),
        pointers,
        item.node.guarded,
        loss_pointer(item, program, pointers),
    )
    return TaskText(text, list(dict.fromkeys(pointers.values())), node=number)


def loss_pointer(item: BoundNode, program: PlannedProgram, pointers: Mapping[str, Pointer]) -> str | None:
    """The pointer to the loss where the node computes it; `pointers` are its operands'."""
    assert item.call is not None
    tensors = item.call.tensors.items()
    made = (operand for operand, name in tensors if program.graph.value(name).role is Role.LOSS)
    return next((pointers[operand].name for operand in made), None)


def call_arguments(
    call: KernelCall, kernels: KernelSet, shapes: ShapeSet, pointers: Mapping[str, Pointer]
) -> dict[str, str]:
    """What a call passes, in C, by parameter; `pointers` has those of the operands that are given."""
    given = {name: pointer.name for name, pointer in pointers.items()}
    arguments = {
        parameter.name: _argument(
            call.arguments[parameter.name], given.get(parameter.name, "NULL"), kernels.prefix
        )
        for parameter in call.kernel.present(call.context)
    }
    return {"s": f"&{shapes.name(call)}", **arguments}


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
