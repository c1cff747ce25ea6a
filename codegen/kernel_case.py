"""The C of a program that runs variants of one kernel call on operands of its own, for the tuner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odl.codegen.kernels import KernelSet, environment
from odl.codegen.names import float_literal
from odl.codegen.texts import C_TYPES
from odl.graph.ir import DType
from odl.kernels.call import KernelCall, Number, Runtime
from odl.kernels.signature import Parameter


@dataclass(frozen=True)
class Placed:
    """Type and byte offset of an operand."""

    dtype: DType
    offset: int


@dataclass(frozen=True)
class CaseSources:
    """C texts: `functions` names each call's kernel, `kernels` has the text of each by its name."""

    functions: tuple[str, ...]
    kernels: dict[str, str]
    header: str
    program: str


def render_case(calls: Sequence[KernelCall], operands: Mapping[str, Placed], total_bytes: int) -> CaseSources:
    """A program that makes the calls one after another; they differ in their kernels only.

    `operands` says where each operand lies that the calls are given; `total_bytes` is what they take together. A scalar
    that a running network would know, such as the learning rate, is 1.
    """
    kernels = KernelSet(calls, "case")
    rendered = kernels.render()
    call = calls[0]
    templates = environment("odl.codegen", "templates")
    functions = tuple(kernels.name(item) for item in calls)
    program = templates.get_template("kernel_case.c.j2").render(
        bytes=total_bytes,
        functions=functions,
        call=call,
        pointers=[
            {"name": f"operand_{name}", "type": C_TYPES[operand.dtype], "offset": operand.offset}
            for name, operand in operands.items()
        ],
        arguments=[_argument(parameter, call, operands) for parameter in call.kernel.present(call.context)],
    )
    return CaseSources(
        functions,
        {kernel.name: kernel.text for kernel in rendered},
        templates.get_template("kernels.h.j2").render(
            prefix="case", PREFIX="CASE", shapes=kernels.shapes, kernels=rendered
        ),
        program,
    )


def _argument(parameter: Parameter, call: KernelCall, operands: Mapping[str, Placed]) -> str:
    argument = call.arguments[parameter.name]
    if isinstance(argument, Number):
        return float_literal(argument.value)
    if isinstance(argument, Runtime):
        return "1.0f"
    return f"operand_{parameter.name}" if parameter.name in operands else "NULL"
