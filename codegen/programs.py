"""Template context of net.c: constant shapes, tensors at their addresses, commented kernel calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from odl.codegen.kernels import KernelSet
from odl.codegen.names import comment_text, float_literal, unique_identifiers
from odl.graph.ir import DType, Role, Value
from odl.kernels.call import Argument, KernelCall, Number, Runtime
from odl.plan.program import BoundNode, PlannedProgram
from odl.project.programs import Program

C_TYPES = {DType.F16: "odl_f16", DType.F32: "odl_f32", DType.U8: "uint8_t"}


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

    def context(self) -> list[dict[str, Any]]:
        """Every shape, in the order of their first calls."""
        return [
            {"type": kind, "name": name, "fields": dict(fields)}
            for (kind, fields), name in self._names.items()
        ]


def _shape_key(call: KernelCall) -> tuple[str, tuple[tuple[str, int], ...]]:
    return call.kernel.shape.name, tuple(call.shape.items())


def program_context(
    index: int,
    name: Program,
    program: PlannedProgram,
    kernels: KernelSet,
    shapes: ShapeSet,
    watches_overflow: bool,
) -> dict[str, Any]:
    """Everything that net.c says about one program."""
    called = [item for item in program.nodes if item.call is not None and program.staging is None]
    used = _used_values(called)
    names = unique_identifiers(used)
    tensors = [
        {
            "name": names[value],
            "type": C_TYPES[program.graph.value(value).dtype],
            "offset": program.offsets[value],
        }
        for value in used
    ]
    return {
        "index": index,
        "name": name.name,
        "title": name.title,
        "takes_input": Role.INPUT in name.takes,
        "takes_target": Role.TARGET in name.takes,
        "watches_overflow": watches_overflow,
        "tasks": [],
        "finish": [],
        "tensors": tensors,
        "nodes": [_node(number, item, program, names, kernels, shapes) for number, item in enumerate(called)],
    }


def serving_functions(programs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """By program, the one whose C function runs it: of programs with equal calls net.c holds only the last."""
    return {
        str(program["name"]): next(
            str(other["name"]) for other in reversed(programs) if _body(other) == _body(program)
        )
        for program in programs
    }


def _body(program: Mapping[str, Any]) -> tuple[Any, ...]:
    return program["tensors"], program["nodes"], program["tasks"], program["watches_overflow"]


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
) -> dict[str, Any]:
    call = item.call
    assert call is not None
    return {
        "index": number,
        "comment": describe(item, program),
        "function": kernels.name(call),
        "arguments": call_arguments(call, shapes, names),
    }


def call_arguments(call: KernelCall, shapes: ShapeSet, names: Mapping[str, str]) -> list[str]:
    """What a call passes, in C; `names` has the pointer to each value."""
    arguments = [_argument(argument, names) for argument in call.in_order]
    return [f"&{shapes.name(call)}", *arguments, "core", "cores"]


def _argument(argument: Argument, names: Mapping[str, str]) -> str:
    if isinstance(argument, Number):
        return float_literal(argument.value)
    if isinstance(argument, Runtime):
        return f"net_state.{argument.name}"
    return "NULL" if argument.name is None else names[argument.name]


def describe(item: BoundNode, program: PlannedProgram) -> str:
    """Operator and shapes, for the comment above a call."""
    node, graph = item.node, program.graph
    inputs = " ".join(_dimensions(graph.value(name)) for name in node.reads[:1])
    outputs = " ".join(_dimensions(graph.value(name)) for name in node.results[:1])
    text = f"{comment_text(node.name)}: {type(node.operator).__name__} {inputs}"
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
