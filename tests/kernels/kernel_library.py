"""Every kernel besides the convolutions in one library, called as compiled by several compilers.

Every call runs as compiled by gcc and by clang, on one, two and three cores, between guard zones; all runs
must give the same bits, raise no overflow flag, and leave inputs and guards alone.
"""

from __future__ import annotations

import ctypes
import dataclasses
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from odl.codegen.kernels import render_kernel
from odl.graph.ir import DType, Role, Value
from odl.kernels.call import KernelCall
from odl.operators.base import KernelRequest
from odl.optimizers import OPTIMIZERS, Optimizer
from tests.kernels.signatures import KERNELS as SIGNATURES
from tests.kernels.signatures import SHAPES, structs

KERNELS = Path(__file__).parents[2] / "kernels"
STRUCTS = {shape.name: " ".join(shape.fields) for shape in SHAPES}
TYPES: dict[str, Any] = {"f16": np.float16, "f32": np.float32}
INF = float("inf")
Arrays = list[Any]
Run = Callable[..., Arrays]
Call = tuple[str, dict[str, int], Sequence[Any], Sequence[int], Arrays]
OPTIONS = [
    "-std=c11",
    "-ffp-contract=off",
    "-I",
    str(KERNELS / "isa"),
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Werror",
]
SHARED = ["-O2", "-fno-tree-slp-vectorize", "-fPIC", "-shared"]
MATH = """
void test_expf(const float *x, float *y, uint8_t *flags, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        odl_overflow_clear();
        y[i] = odl_expf(x[i]);
        flags[i] = (uint8_t)odl_overflow_seen();
    }
}
void test_logf(const float *x, float *y, uint8_t *flags, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        odl_overflow_clear();
        y[i] = odl_logf(x[i]);
        flags[i] = (uint8_t)odl_overflow_seen();
    }
}
void test_clear(void) { odl_overflow_clear(); }
int test_seen(void) { return odl_overflow_seen(); }
"""


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
    return optimizer.update().kernel(KernelRequest(values, {}, 1, None))


# ------------------------------------------------------------------------------------------------- rendering
def contexts() -> dict[str, dict[str, Any]]:
    """Every rendered kernel: name -> template and context."""
    kernels: dict[str, dict[str, Any]] = {}

    def one(template: str, name: str, **context: Any) -> None:
        kernels[name] = {"template": template, **context}

    plain = "relu relu_gradient add fill average_pool average_pool_gradient max_pool max_pool_gradient "
    plain += "global_average_pool global_average_pool_gradient cross_entropy mean_squared_error im2row"
    for t in TYPES:
        for template in plain.split():
            one(template, f"{template}_{t}", T=t)
        for first in (False, True):
            one("change_layout", f"change_layout_{t}_{first}", T=t, to_channels_first=first)
        for template in ("batch_norm_frozen", "batch_norm_train"):
            one(template, f"{template}_{t}", T=t, P=t)
            for accumulate in (False, True):
                name = f"{template}_gradient_{t}_{accumulate}"
                one(f"{template}_gradient", name, T=t, P="f32", G=t, accumulate=accumulate)
        other = "f32" if t == "f16" else "f16"
        one("cast", f"cast_{t}", S=t, D=other)
        for copy in ("none", "f16"):
            for extra in (False, True):
                for optimizer in OPTIMIZERS:
                    call = update_call(optimizer_of(optimizer, extra), t, copy != "none", 1)
                    one(call.kernel.template, f"{optimizer}_{t}_{copy}_{extra}", **call.context)
    return kernels


CONTEXTS = contexts()


def render() -> tuple[str, dict[str, str]]:
    """kernels.h, and the C file of every kernel."""
    header = f'#ifndef KERNELS_H\n#define KERNELS_H\n#include "odl_isa.h"\n{structs()}'
    sources = {}
    for name, context in CONTEXTS.items():
        rendered = render_kernel(SIGNATURES[context["template"]], name, context)
        header += f"{rendered.prototype};\n"
        sources[name] = rendered.text
    return f"{header}#endif\n", sources


def unity(sources: dict[str, str]) -> str:
    """All C files as one, which compiles much faster: names of file scope get the kernel's name in front."""
    text = ""
    for name, source in sources.items():
        local = re.findall(r"^static [^(]*?(\w+)\(", source, re.M) + re.findall(
            r"^struct (\w+) \{", source, re.M
        )
        text += "".join(f"#define {word} {name}_{word}\n" for word in local) + source
        text += "".join(f"#undef {word}\n" for word in local)
    return f"{text}{MATH}"


def compiled(folder: Path, compiler: str, options: Sequence[str], sources: dict[str, str]) -> Path:
    """Compile the files, given by name and text, without a warning."""
    for name, text in sources.items():
        (folder / f"{name}.c").write_text(text)
    output = folder / f"{compiler}-{len(list(folder.glob('*.out')))}.out"
    command = [compiler, *OPTIONS, *options, *(f"{name}.c" for name in sources), "-o", output.name, "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output


# --------------------------------------------------------------------------------------------------- calling
GUARD = 64  # bytes


def guarded(array: Any) -> tuple[Any, Any]:
    """A copy of the array, and the buffer with the guard zones that it lies in."""
    buffer = np.full(array.nbytes + 2 * GUARD, 0xA5, np.uint8)
    inside = buffer[GUARD : GUARD + array.nbytes].view(array.dtype).reshape(array.shape)
    inside[...] = array
    return inside, buffer


def canonical(array: Any) -> bytes:
    """Its bytes, with one kind of NaN."""
    values = array if array.dtype == np.uint8 else np.where(np.isnan(array), array.dtype.type(np.nan), array)
    return bytes(values.tobytes())


@dataclass(frozen=True)
class Runner:
    """Calls kernels in all libraries and on several numbers of cores; all must agree to the bit."""

    libraries: list[ctypes.CDLL]
    calls: list[Call] = field(default_factory=list, repr=False)

    def __call__(
        self,
        name: str,
        shape: dict[str, int],
        *arguments: Any,
        written: Sequence[int],
        overflow: bool | None = False,
    ) -> Arrays:
        """The arrays written, given by their position among the arguments (arrays, floats or None).

        The same array object given twice is one buffer. overflow: whether the call must raise a flag.
        """
        results, flags = zip(
            *[
                self._run(library, name, shape, arguments, written, order)
                for library in self.libraries
                for order in ([0], [0, 1], [1, 0], [2, 0, 1])
            ],
            strict=True,
        )
        assert overflow is None or set(flags) == {overflow}, "overflow flags"
        for result in results[1:]:
            for first, other in zip(results[0], result, strict=True):
                assert canonical(first) == canonical(other), "not the same bits"
        self.calls.append((name, shape, arguments, written, results[0]))
        return results[0]

    @staticmethod
    def _run(
        library: ctypes.CDLL,
        name: str,
        shape: dict[str, int],
        arguments: Sequence[Any],
        written: Sequence[int],
        order: Sequence[int],
    ) -> tuple[Arrays, bool]:
        struct = next(text.split() for text in STRUCTS.values() if set(shape) == set(text.split()))
        values = (ctypes.c_uint32 * len(struct))(*(shape[item] for item in struct))
        copies = {id(item): guarded(item) for item in arguments if isinstance(item, np.ndarray)}
        converted: list[Any] = []
        for item in arguments:
            if isinstance(item, np.ndarray):
                converted.append(ctypes.c_void_p(copies[id(item)][0].ctypes.data))
            else:
                converted.append(ctypes.c_void_p(None) if item is None else ctypes.c_float(item))
        library.test_clear()
        for core in order:
            getattr(library, name)(values, *converted, ctypes.c_uint32(core), ctypes.c_uint32(len(order)))
        overflow = bool(library.test_seen())  # before NumPy touches the flags
        outputs = {id(arguments[index]) for index in written}
        for item in arguments:
            if isinstance(item, np.ndarray):
                inside, buffer = copies[id(item)]
                assert (buffer[:GUARD] == 0xA5).all() and (buffer[-GUARD:] == 0xA5).all(), "wrote outside"
                if id(item) not in outputs:
                    assert inside.tobytes() == item.tobytes(), "wrote to an input"
        return [copies[id(arguments[index])][0].copy() for index in written], overflow


# --------------------------------------------------------------------------------------- operands and bounds
def close(actual: Any, expected: Any, operations: float = 1.0, size: Any = None) -> None:
    """Assert |actual - expected| <= one rounding to the type + operations * 2^-24 * size; never for NaN."""
    exact = np.asarray(
        expected.detach() if isinstance(expected, torch.Tensor) else expected, dtype=np.float64
    )
    exact = exact.reshape(actual.shape)
    unit, smallest = (2.0**-11, 2.0**-25) if actual.dtype == np.float16 else (2.0**-24, 2.0**-150)
    size = np.abs(exact) if size is None else np.asarray(size, dtype=np.float64)
    work = operations * 2.0**-24 * np.broadcast_to(size.reshape(np.shape(size)), exact.shape)
    bound = unit * (np.abs(exact) + work) + smallest + work
    error = np.abs(actual.astype(np.float64) - exact)
    assert (error <= bound).all(), (
        f"error {error[~(error <= bound)][:4]} above {bound[~(error <= bound)][:4]}"
    )


def draw(seed: int, shape: Any, dtype: str = "f32", scale: float = 1.0) -> Any:
    """Normal numbers in the type."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(TYPES[dtype])


def empty(shape: Any, dtype: str) -> Any:
    """An output before the call: NaN, so that what is not written is found."""
    return np.full(shape, np.nan, TYPES[dtype])


def exact(array: Any, gradient: bool = False) -> torch.Tensor:
    """Float64 tensor of the same values."""
    return torch.tensor(array.astype(np.float64), requires_grad=gradient)


def image(array: Any, gradient: bool = False) -> torch.Tensor:
    """Channels-last array to PyTorch's order, in float64."""
    return exact(np.ascontiguousarray(array.transpose(0, 3, 1, 2)), gradient)


def last(tensor: Any) -> Any:
    """PyTorch's order to channels last."""
    return np.asarray(tensor.detach()).transpose(0, 2, 3, 1)
