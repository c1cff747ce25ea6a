"""Renders the convolution kernels, compiles them into one library per dialect, calls them on NumPy arrays."""

import ctypes
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from odl.targets.common import flags
from tests.kernels.cases import ISA, KERNELS, Function, header

WARNINGS = [*flags.STANDARD, *flags.WARNINGS]
EXACT = [*flags.HOST, *flags.EXACT]
FAST = [*flags.HOST, *flags.FAST]


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


class ConvShape(ctypes.Structure):
    _fields_ = [(field.name, ctypes.c_uint32) for field in fields(Shape)]


class ChannelShape(ctypes.Structure):
    _fields_ = [("pixels", ctypes.c_uint32), ("channels", ctypes.c_uint32)]


@dataclass(frozen=True)
class Numbers:
    """Types of a variant: T stores activations, P biases, G gradients of parameters; chunk 0: unchunked."""

    T: str
    P: str
    G: str
    chunk: int

    @property
    def context(self) -> dict:
        return {"T": self.T, "P": self.P, "G": self.G, "chunked": self.chunk > 0, "chunk": self.chunk or 64}


NUMBERS = {
    "fp32": Numbers("f32", "f32", "f32", 0),
    "fp16": Numbers("f16", "f16", "f16", 0),
    "mixed": Numbers("f16", "f32", "f32", 8),
}
DTYPES = {"f16": np.float16, "f32": np.float32}
OPERATORS = ["conv2d", "depthwise"]
DIRECTIONS = ["forward", "input_gradient", "weight_gradient"]
#: The kernels that this library has.
CONVOLUTIONS = [
    *(f"{operator}_{direction}" for operator in OPERATORS for direction in DIRECTIONS),
    "channel_sum",
]


@dataclass(frozen=True)
class Tiles:
    pixels: int
    channels: int
    inputs: int


def functions(all_numbers: dict[str, Numbers], tiles: Tiles) -> list[Function]:
    """Everything that is compiled; what accumulates is called _accumulate at the end."""
    result = []

    def add(kernel: str, numbers: str, accumulate: bool) -> None:
        context = all_numbers[numbers].context | {
            "tile_pixels": tiles.pixels,
            "tile_channels": tiles.channels,
            "tile_inputs": tiles.inputs,
            "accumulate": accumulate,
        }
        name = f"{kernel}_{numbers}{'_accumulate' if accumulate else ''}"
        result.append(Function(name, KERNELS[kernel], context))

    for numbers in all_numbers:
        for kernel in CONVOLUTIONS:
            add(kernel, numbers, accumulate=False)
            if numbers != "fp32" and kernel.endswith(("weight_gradient", "channel_sum")):
                add(kernel, numbers, accumulate=True)
    return result


def build(folder: Path, tiles: Tiles, options: list[str], numbers: dict[str, Numbers]) -> Path:
    """A shared library of every variant."""
    made = functions(numbers, tiles)
    for function in made:
        (folder / f"{function.name}.c").write_text(function.rendered.text)
    (folder / "kernels.h").write_text(header(made))
    command = ["gcc", *WARNINGS, *options, "-fPIC", f"-I{ISA}", f"-I{folder}"]

    def compile_one(source: Path) -> None:
        run([*command, "-c", str(source), "-o", str(source.with_suffix(".o"))])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compile_one, sorted(folder.glob("*.c"))))
    library = folder / "kernels.so"
    objects = [str(path) for path in sorted(folder.glob("*.o"))]
    run(["gcc", *options, "-shared", *objects, "-o", str(library), "-lm"])
    return library


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"


class Library:
    """Calls kernels of a compiled library, once per core; checks that only the output was written."""

    GUARD = 16

    def __init__(self, path: Path, guard: int = GUARD) -> None:
        self.path = path
        self.guard = guard
        self.library = ctypes.CDLL(str(path))

    def guarded(self, array: np.ndarray) -> np.ndarray:
        """The array's elements between guard zones of poison (NaN)."""
        result = np.full(array.size + 2 * self.guard, np.nan, array.dtype)
        result[self.guard : self.guard + array.size] = array.ravel()
        return result

    def call(self, name: str, shape, inputs: list, output: np.ndarray, limits: list[float], cores: int):
        """Runs `name(shape, *inputs, output, *limits, core, cores)` for each core. An input may be None, or
        the string "output" for a buffer that the output aliases."""
        buffers = [self.guarded(a) if isinstance(a, np.ndarray) else a for a in inputs]
        out = self.guarded(output)
        kept = [b.copy() if isinstance(b, np.ndarray) else None for b in buffers]
        arguments: list = [ctypes.byref(shape)]
        arguments += [self.pointer(out if isinstance(b, str) else b) for b in buffers]
        arguments += [self.pointer(out), *map(ctypes.c_float, limits)]
        for core in range(cores):
            getattr(self.library, name)(*arguments, ctypes.c_uint32(core), ctypes.c_uint32(cores))
        for before, buffer in zip(kept, buffers, strict=True):
            if before is not None:
                assert before.tobytes() == buffer.tobytes(), f"{name} wrote to an input"
        inside = out[self.guard : self.guard + output.size]
        poison = np.full(self.guard, np.nan, output.dtype).tobytes()
        assert out[: self.guard].tobytes() == poison, f"{name} wrote before its output"
        assert out[self.guard + output.size :].tobytes() == poison, f"{name} wrote after its output"
        return inside.reshape(output.shape).copy()

    def pointer(self, buffer):
        if buffer is None:
            return ctypes.c_void_p(None)
        return ctypes.c_void_p(buffer.ctypes.data + self.guard * buffer.itemsize)


def conv_shape(shape: Shape) -> ConvShape:
    return ConvShape(*(getattr(shape, field.name) for field in fields(shape)))
