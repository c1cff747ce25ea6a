"""The C of a program that runs variants of one kernel call on operands of its own, for the tuner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from odl.codegen.kernels import KernelSet, environment
from odl.codegen.names import float_literal
from odl.codegen.programs import C_TYPES
from odl.graph.ir import DType
from odl.operators.base import KernelCall, Number, Runtime


@dataclass(frozen=True)
class CaseSources:
    """C texts: `functions` names each call's kernel, `kernels` has the text of each by its name."""

    functions: tuple[str, ...]
    kernels: dict[str, str]
    header: str
    program: str


def render_case(
    calls: Sequence[KernelCall], operands: Sequence[tuple[DType, int] | None], total_bytes: int
) -> CaseSources:
    """A program that makes the calls one after another; they differ in their kernels only.

    `operands`: type and byte offset of each argument that is an address, in order, None where it is NULL; `total_bytes`
    is what they take together. An argument that a running network would know, such as the learning rate, is 1.
    """
    kernels = KernelSet(calls)
    rendered = kernels.render()
    call = calls[0]
    templates = environment("odl.codegen", "templates")
    pointers = [
        {"name": f"operand_{index}", "type": C_TYPES[operand[0]], "offset": operand[1]}
        for index, operand in enumerate(operands)
        if operand is not None
    ]
    functions = tuple(kernels.name(item) for item in calls)
    program = templates.get_template("kernel_case.c.j2").render(
        bytes=total_bytes,
        functions=functions,
        shape_type=call.shape_type,
        shape=call.shape,
        pointers=pointers,
        arguments=_arguments(call, operands),
    )
    return CaseSources(
        functions,
        {kernel.name: kernel.text for kernel in rendered},
        templates.get_template("kernels.h.j2").render(shapes=kernels.shapes, kernels=rendered),
        program,
    )


def _arguments(call: KernelCall, operands: Sequence[tuple[DType, int] | None]) -> list[str]:
    texts = []
    index = 0
    for argument in call.arguments:
        if isinstance(argument, Number):
            texts.append(float_literal(argument.value))
        elif isinstance(argument, Runtime):
            texts.append("1.0f")
        else:
            texts.append("NULL" if operands[index] is None else f"operand_{index}")
            index += 1
    return texts
