"""The kernels, the functions that tests compile of each, and calls of them: the one list for every run.

Signatures are found where the kernels stand: beside the operators and the optimizers. What a call passes and what it
writes follow from them.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from odl import operators, optimizers
from odl.codegen.kernels import RenderedKernel, render_kernel
from odl.graph.ir import DType, Role, Value
from odl.kernels.call import KernelCall
from odl.kernels.signature import Kernel, Operand, Specialisation
from odl.operators.base import KernelRequest
from odl.operators.broadcast import Arithmetic
from odl.operators.unary import FACTS, UNARY
from odl.optimizers import OPTIMIZERS, Optimizer
from odl.optimizers.base import Update

ISA = Path(__file__).resolve().parents[2] / "kernels" / "isa"
TYPES: dict[str, Any] = {"f16": np.float16, "f32": np.float32}


def _found() -> Iterator[Kernel]:
    for package in (operators, optimizers):
        for module in pkgutil.iter_modules(package.__path__):
            for value in vars(importlib.import_module(f"{package.__name__}.{module.name}")).values():
                if isinstance(value, Kernel):
                    yield value


KERNELS = {kernel.template: kernel for kernel in _found()}
SHAPES = tuple(dict.fromkeys(kernel.shape for kernel in KERNELS.values()))


def structs() -> str:
    """The structs of all shapes in C."""
    return "".join(
        f"struct {shape.name} {{\n    uint32_t {', '.join(shape.fields)};\n}};\n" for shape in SHAPES
    )


@dataclass(frozen=True)
class Function:
    """A specialisation of a kernel as a C function."""

    name: str
    kernel: Kernel
    context: Specialisation

    @property
    def rendered(self) -> RenderedKernel:
        """Its C."""
        return render_kernel(self.kernel, self.name, self.context)


def header(functions: Iterable[Function]) -> str:
    """kernels.h for the functions."""
    prototypes = "".join(
        f"{function.kernel.prototype(function.name, function.context)};\n" for function in functions
    )
    return f'#ifndef KERNELS_H\n#define KERNELS_H\n#include "odl_isa.h"\n{structs()}{prototypes}#endif\n'


@dataclass(frozen=True)
class Case:
    """A call of a function. `arguments` are arrays, floats or None (NULL) by the names of the kernel's parameters.

    The same array object given twice is one buffer.
    """

    function: Function
    shape: Mapping[str, int]
    arguments: Mapping[str, Any]

    def __post_init__(self) -> None:
        present = self.function.kernel.present(self.function.context)
        wanted = {parameter.name for parameter in present}
        optional = {item.name for item in present if isinstance(item, Operand) and item.optional}
        assert wanted == set(self.arguments), f"{self.function.name} takes {wanted}"
        absent = {name for name, argument in self.arguments.items() if argument is None}
        assert absent <= optional, f"{self.function.name} cannot do without {absent - optional}"
        assert set(self.shape) == set(self.function.kernel.shape.fields)

    @property
    def sizes(self) -> list[int]:
        """The fields of the shape's struct."""
        return [self.shape[field] for field in self.function.kernel.shape.fields]

    @property
    def in_order(self) -> list[Any]:
        """The arguments in the order of the kernel's parameters."""
        return [self.arguments[item.name] for item in self.function.kernel.present(self.function.context)]

    @property
    def written(self) -> dict[str, Any]:
        """The arrays that the call writes, by operand, in order."""
        operands = self.function.kernel.operands(self.function.context)
        given = {operand.name: self.arguments[operand.name] for operand in operands if operand.written}
        return {name: array for name, array in given.items() if array is not None}


# ------------------------------------------------------------------------------------------------ optimizers
def optimizer_of(name: str, extra: bool) -> Optimizer:
    """An optimizer whose fields fp32 holds exactly; extra: with weight decay, and momentum where it can have one."""
    kind = OPTIMIZERS[name]
    fields = {item.name: item.default for item in dataclasses.fields(kind)}
    given = {"lr": 0.05, "momentum": 0.9 if extra else 0.0, "weight_decay": 0.01 if extra else 0.0}
    fields |= {field: value for field, value in given.items() if field in fields}
    return dataclasses.replace(kind(), **{field: _single(value) for field, value in fields.items()})


def _single(value: Any) -> Any:
    return tuple(map(_single, value)) if isinstance(value, tuple) else type(value)(np.float32(value))


def update_call(optimizer: Optimizer, t: str, copy: bool, n: int) -> KernelCall:
    """The update of n parameters of type t, perhaps with a copy in fp16; tensors have the names of the inputs."""
    types = {"parameter": t, "gradient": "f16" if copy else t, **({"copy": "f16"} if copy else {})}
    types |= {state.name: state.dtype or t for state in optimizer.states}
    values = {name: Value(name, (n,), Role.PARAMETER, DType(of)) for name, of in types.items()}
    call = Update(optimizer).kernel(KernelRequest(values, {}, 1, None))
    assert call is not None
    return call


# ---------------------------------------------------------------------------------------------- convolutions
@dataclass(frozen=True)
class Shape:
    """A convolution, as `struct odl_conv2d_shape` states it."""

    batch: int
    in_h: int
    in_w: int
    in_c: int
    out_h: int
    out_w: int
    out_c: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_left: int


@dataclass(frozen=True)
class Numbers:
    """Types of a variant: T stores activations, P biases, G gradients of parameters; chunk 0: unchunked."""

    T: str
    P: str
    G: str
    chunk: int


NUMBERS = {
    "fp32": Numbers("f32", "f32", "f32", 0),
    "fp16": Numbers("f16", "f16", "f16", 0),
    "mixed": Numbers("f16", "f32", "f32", 8),
    "mixed16": Numbers("f16", "f32", "f16", 8),  # whose gradients nothing sums up
}


@dataclass(frozen=True)
class Tiles:
    """Outputs that a convolution's inner loop computes together."""

    tile_pixels: int
    tile_channels: int
    tile_inputs: int


def convolutions(all_numbers: Mapping[str, Numbers], tiles: Tiles) -> dict[str, Function]:
    """The convolutions and the bias gradient; what accumulates is called _accumulate at the end."""
    result = {}
    for variant, numbers in all_numbers.items():
        for template in KERNELS:
            accumulates = template.endswith(("weight_gradient", "channel_sum"))
            if not accumulates and not template.startswith(("conv2d_", "depthwise_")):
                continue
            for accumulate in (False, True) if accumulates and variant != "fp32" else (False,):
                context = dataclasses.asdict(numbers) | dataclasses.asdict(tiles)
                context |= {
                    "chunked": numbers.chunk > 0,
                    "chunk": numbers.chunk or 64,
                    "accumulate": accumulate,
                }
                name = f"{template}_{variant}{'_accumulate' if accumulate else ''}"
                result[name] = Function(name, KERNELS[template], context)
    return result


# ------------------------------------------------------------------------------------------------- functions
def _functions() -> Iterator[Function]:
    """Of every kernel."""

    def one(template: str, name: str, **context: str | int) -> Function:
        return Function(name, KERNELS[template], context)

    plain = "relu relu_gradient silu silu_gradient add fill average_pool average_pool_gradient max_pool max_pool_gradient "
    plain += "global_average_pool global_average_pool_gradient cross_entropy mean_squared_error im2row concatenate "
    plain += "slice place"
    for t in TYPES:
        for template in plain.split():
            yield one(template, f"{template}_{t}", T=t)
        for function, facts in FACTS.items():
            given = {
                item.only_with: item.name in facts.scalars for item in UNARY.parameters if item.only_with
            }
            yield one("unary", f"{function}_{t}", T=t, function=str(function), **given)
            if facts.slope is not None:
                yield one("unary_gradient", f"{function}_gradient_{t}", T=t, function=str(function), **given)
        for arithmetic in Arithmetic:
            for second in dict.fromkeys((t, "f32")):
                expands = arithmetic is Arithmetic.EXPAND
                types = {"A": "none" if expands else t, "B": second, "T": t}
                switches = {"with_a": not expands, "with_scale": expands}
                name = f"broadcast_{arithmetic}_{t}_{second}"
                yield one("broadcast", name, **types, **switches, function=str(arithmetic))
        for total in dict.fromkeys((t, "f32")):
            for accumulate in (False, True):
                yield one("reduce", f"reduce_{t}_{total}_{accumulate}", T=t, Y=total, accumulate=accumulate)
        for first in (False, True):
            yield one("change_layout", f"change_layout_{t}_{first}", T=t, to_channels_first=first)
        for template in ("batch_norm_frozen", "batch_norm_train"):
            yield one(template, f"{template}_{t}", T=t, P=t)
            for accumulate in (False, True):
                name = f"{template}_gradient_{t}_{accumulate}"
                yield one(f"{template}_gradient", name, T=t, P="f32", G=t, accumulate=accumulate)
        other = "f32" if t == "f16" else "f16"
        yield one("cast", f"cast_{t}", S=t, D=other)
        yield one("squared_sum", f"squared_sum_{t}", G=t)
        yield one("quantise", f"quantise_{t}", T=t)
        for copy in ("none", "f16"):
            for extra in (False, True):
                for optimizer in OPTIMIZERS:
                    call = update_call(optimizer_of(optimizer, extra), t, copy != "none", 1)
                    yield Function(f"{optimizer}_{t}_{copy}_{extra}", call.kernel, call.context)
    for template in ("gram_update", "class_sum_update", "cholesky", "integer_linear"):
        yield one(template, template)
    for within in (False, True):
        for template in ("covariance", "analytic_weights"):
            yield one(template, f"{template}_{within}", within=within)
    yield from convolutions(NUMBERS, Tiles(4, 2, 2)).values()


FUNCTIONS = {function.name: function for function in _functions()}
