"""Kernels in one library, called as compiled by several compilers.

Every call runs as compiled by gcc and by clang, on one, two and three cores, between guard zones of NaN; all runs
must give the same bits, raise no overflow flag, and leave inputs and guards alone.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from odl.targets.common import flags
from tests.kernels.cases import FUNCTIONS, ISA, TYPES, Case, Function, header

INF = float("inf")
Arrays = list[Any]
Run = Callable[..., Arrays]
OPTIONS = [*flags.STANDARD, "-ffp-contract=off", "-I", str(ISA), *flags.WARNINGS, "-Werror"]
SHARED = ["-O2", "-fno-tree-slp-vectorize", "-fPIC", "-shared"]
EXACT = [*flags.HOST, *flags.EXACT, "-fPIC", "-shared"]
FAST = [*flags.HOST, *flags.FAST, "-fPIC", "-shared"]
WIDE = [*EXACT, "-DODL_LANES_F16=8", "-DODL_LANES_F32=4"]
MATH = """
#include "odl_math.h"
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


# ------------------------------------------------------------------------------------------------- rendering
def render() -> tuple[str, dict[str, str]]:
    """kernels.h, and the C file of every function."""
    functions = FUNCTIONS.values()
    return header(functions), {function.name: function.rendered.text for function in functions}


def unity(sources: dict[str, str]) -> str:
    """All C files as one, which compiles much faster: names of file scope get the kernel's name in front."""
    text = ""
    for name, source in sources.items():
        local = re.findall(r"^(?:static|ODL_TILE) [^(]*?(\w+)\(", source, re.M)
        local += re.findall(r"^struct (\w+) \{", source, re.M)
        text += "".join(f"#define {word} {name}_{word}\n" for word in local) + source
        macros = re.findall(r"^#define (\w+)", source, re.M)
        text += "".join(f"#undef {word}\n" for word in [*local, *macros])
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


def library(folder: Path, functions: Iterable[Function], options: Sequence[str]) -> Path:
    """All functions by gcc, as a shared library."""
    functions = list(functions)
    (folder / "kernels.h").write_text(header(functions))
    return compiled(folder, "gcc", options, {"all": unity({f.name: f.rendered.text for f in functions})})


# --------------------------------------------------------------------------------------------------- calling
def canonical(array: Any) -> bytes:
    """Its bytes, with one kind of NaN in fp32, which has no canonical one on hosts."""
    values = np.where(np.isnan(array), np.float32(np.nan), array) if array.dtype == np.float32 else array
    return bytes(values.tobytes())


def differing(cases: Sequence[Case], expected: Sequence[Arrays], got: Sequence[Arrays]) -> list[str]:
    """Which of the calls have written other bits than expected."""
    return [
        f"{case.function.name} {case.shape}: {operand}"
        for case, *written in zip(cases, expected, got, strict=True)
        for operand, wanted, array in zip(case.written, *written, strict=True)
        if canonical(wanted) != canonical(array)
    ]


@dataclass(frozen=True)
class Runner:
    """Calls kernels in all libraries with all orders of cores; all must agree to the bit."""

    libraries: list[ctypes.CDLL]
    orders: Sequence[Sequence[int]] = ([0], [0, 1], [1, 0], [2, 0, 1])
    guard: int = 64
    """Bytes before and after every array."""
    calls: list[tuple[Case, Arrays]] = field(default_factory=list, repr=False)

    def __call__(
        self, name: str, shape: dict[str, int], *, overflow: bool | None = False, **arguments: Any
    ) -> Arrays:
        """The arrays written, in the order of the kernel's operands. Arguments (arrays, floats or None) are by name.

        The same array object given twice is one buffer. overflow: whether the call must raise a flag.
        """
        return self.call(Case(FUNCTIONS[name], shape, arguments), overflow)

    def call(self, case: Case, overflow: bool | None = None) -> Arrays:
        """As above, of any function that the libraries have."""
        runs = [self._run(library, case, order) for library in self.libraries for order in self.orders]
        results, flags = zip(*runs, strict=True)
        assert overflow is None or set(flags) == {overflow}, "overflow flags"
        for result in results[1:]:
            assert not differing([case], [results[0]], [result]), "not the same bits"
        self.calls.append((case, results[0]))
        return results[0]

    def _run(self, library: ctypes.CDLL, case: Case, order: Sequence[int]) -> tuple[Arrays, bool]:
        values = (ctypes.c_uint32 * len(case.sizes))(*case.sizes)
        copies = {id(item): self._guarded(item) for item in case.in_order if isinstance(item, np.ndarray)}
        converted: list[Any] = []
        for item in case.in_order:
            if isinstance(item, np.ndarray):
                converted.append(ctypes.c_void_p(copies[id(item)][0].ctypes.data))
            else:
                converted.append(ctypes.c_void_p(None) if item is None else ctypes.c_float(item))
        library.test_clear()
        call = getattr(library, case.function.name)
        for core in order:
            call(values, *converted, ctypes.c_uint32(core), ctypes.c_uint32(len(order)))
        overflow = bool(library.test_seen())  # before NumPy touches the flags
        outputs = {id(item) for item in case.written.values()}
        for item in case.in_order:
            if isinstance(item, np.ndarray):
                inside, buffer = copies[id(item)]
                outside = np.concatenate([buffer[: self.guard], buffer[self.guard + item.nbytes :]])
                assert (outside == 0xFF).all(), f"{case.function.name} wrote outside"
                if id(item) not in outputs:
                    assert inside.tobytes() == item.tobytes(), f"{case.function.name} wrote to an input"
        return [copies[id(item)][0].copy() for item in case.written.values()], overflow

    def _guarded(self, array: Any) -> tuple[Any, Any]:
        """A copy of the array, and the buffer with the guard zones that it lies in."""
        buffer = np.full(array.nbytes + 2 * self.guard, 0xFF, np.uint8)
        inside = buffer[self.guard : self.guard + array.nbytes].view(array.dtype).reshape(array.shape)
        inside[...] = array
        return inside, buffer


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
