"""Kernels besides convolutions: normalisation, activations, pooling, layout, losses, optimizers, casts.

Every call runs as compiled by gcc and by clang, on one, two and three cores, between guard zones; all runs
must give the same bits, raise no overflow flag, and leave inputs and guards alone. The result is compared
with PyTorch in float64. Bounds: half a unit in the last place for the rounding at the store, plus 2^-24 per
fp32 operation times the size of what it worked on.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from torch.nn import functional as F

KERNELS = Path(__file__).parents[2] / "kernels"
STRUCTS = {
    "odl_channel_shape": "pixels channels",
    "odl_flat_shape": "count",
    "odl_layout_shape": "batch height width channels",
    "odl_classes_shape": "batch classes",
    "odl_pool_shape": "batch in_h in_w channels out_h out_w kernel_h kernel_w stride_h stride_w "
    "pad_top pad_left count_include_pad divisor_override",
}
TYPES: dict[str, Any] = {"f16": np.float16, "f32": np.float32}
INF = float("inf")
Arrays = list[Any]
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
SHARED = ["-O2", "-fPIC", "-shared"]
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


# ------------------------------------------------------------------------------------------------- rendering
def contexts() -> dict[str, dict[str, Any]]:
    """Every rendered kernel: name -> template and context."""
    kernels: dict[str, dict[str, Any]] = {}

    def one(template: str, name: str, **context: Any) -> None:
        kernels[name] = {"template": template, "name": name, **context}

    plain = "relu relu_gradient add fill average_pool average_pool_gradient max_pool max_pool_gradient "
    plain += "global_average_pool global_average_pool_gradient cross_entropy mean_squared_error"
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
        one("accumulate", f"accumulate_{t}", A="f32", G=t)
        for copy in ("none", "f16"):
            for extra in (False, True):
                shared = {"W": t, "C": copy, "G": "f16" if copy == "f16" else t, "weight_decay": extra}
                one("sgd", f"sgd_{t}_{copy}_{extra}", M=t if extra else "none", momentum=extra, **shared)
                one("adam", f"adam_{t}_{copy}_{extra}", **shared)
    return kernels


CONTEXTS = contexts()


def render() -> tuple[str, dict[str, str]]:
    """kernels.h, and the C file of every kernel."""
    environment = Environment(  # for C, not HTML
        loader=FileSystemLoader(KERNELS),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    header = '#ifndef KERNELS_H\n#define KERNELS_H\n#include "odl_isa.h"\n'
    for struct, names in STRUCTS.items():
        header += f"struct {struct} {{\n    uint32_t {', '.join(names.split())};\n}};\n"
    sources = {}
    for name, context in CONTEXTS.items():
        template: Any = environment.get_template(f"{context['template']}.c.j2")
        header += f"{template.make_module(context).prototype()};\n"
        sources[name] = template.render(context)
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with kernels.h."""
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "kernels.h").write_text(render()[0])
    return folder


@pytest.fixture(scope="module")
def libraries(folder: Path) -> list[ctypes.CDLL]:
    """By gcc with the host's half-precision conversions, and by clang without them."""
    text = {"all": unity(render()[1])}
    files = [compiled(folder, "gcc", ["-march=native", *SHARED], text)]
    if shutil.which("clang-22"):
        files.append(compiled(folder, "clang-22", SHARED, text))
    return [ctypes.CDLL(str(file)) for file in files]


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


@pytest.fixture(scope="module")
def run(libraries: list[ctypes.CDLL]) -> Runner:
    """Calls kernels."""
    return Runner(libraries)


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


types, seeds = st.sampled_from(list(TYPES)), st.integers(0, 2**32 - 1)
few = settings(max_examples=12)
Run = Callable[..., Arrays]


# ------------------------------------------------------------------------------------------------ elementwise
def check_relu(run: Run, t: str, n: int, seed: int, low: float, high: float) -> None:
    x, dy = draw(seed, n, t, 4.0), draw(seed + 1, n, t)
    (y,) = run(f"relu_{t}", {"count": n}, x, empty(n, t), low, high, written=[1])
    reference = exact(x, True)
    output = F.hardtanh(reference, low, high)
    close(y, output, 0.0)
    output.backward(exact(dy))
    (dx,) = run(f"relu_gradient_{t}", {"count": n}, dy, y, empty(n, t), low, high, written=[2])
    close(dx, reference.grad, 0.0)
    (in_place,) = run(f"relu_{t}", {"count": n}, x, x, low, high, written=[1])
    assert in_place.tobytes() == y.tobytes()
    for same in (dy, y):
        (in_place,) = run(f"relu_gradient_{t}", {"count": n}, dy, y, same, low, high, written=[2])
        assert in_place.tobytes() == dx.tobytes()


@few
@given(
    t=types, n=st.integers(1, 70), seed=seeds, limits=st.sampled_from([(0.0, INF), (0.0, 6.0), (-1.0, 1.0)])
)
def test_relu(run: Runner, t: str, n: int, seed: int, limits: tuple[float, float]) -> None:
    check_relu(run, t, n, seed, *limits)


@few
@given(t=types, n=st.integers(1, 70), seed=seeds)
def test_add(run: Runner, t: str, n: int, seed: int) -> None:
    a, b = draw(seed, n, t), draw(seed + 1, n, t)
    (y,) = run(f"add_{t}", {"count": n}, a, b, empty(n, t), -INF, 1.5, written=[2])
    close(y, (exact(a) + exact(b)).clamp(max=1.5), 0.0)
    for same in (a, b):
        (in_place,) = run(f"add_{t}", {"count": n}, a, b, same, -INF, 1.5, written=[2])
        assert in_place.tobytes() == y.tobytes()
    (alone,) = run(f"add_{t}", {"count": n}, None, b, empty(n, t), 0.0, INF, written=[2])
    close(alone, exact(b).relu(), 0.0)


@few
@given(t=types, n=st.integers(1, 70), seed=seeds, value=st.floats(-1e4, 1e4, width=32))
def test_cast_fill_accumulate(run: Runner, t: str, n: int, seed: int, value: float) -> None:
    other = "f32" if t == "f16" else "f16"
    x = draw(seed, n, t, 2.0)
    (y,) = run(f"cast_{t}", {"count": n}, x, empty(n, other), written=[1])
    assert y.tobytes() == x.astype(TYPES[other]).tobytes()
    (y,) = run(f"fill_{t}", {"count": n}, empty(n, t), value, written=[0])
    assert y.tobytes() == np.full(n, value, TYPES[t]).tobytes()
    acc = draw(seed + 1, n)
    (y,) = run(f"accumulate_{t}", {"count": n}, acc, x, written=[0])
    assert y.tobytes() == (acc + x.astype(np.float32)).tobytes()
    (y,) = run(f"accumulate_{t}", {"count": n}, acc, None, written=[0])
    assert y.tobytes() == acc.tobytes()


sizes = st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 7), st.integers(1, 9))


@few
@given(t=types, size=sizes, seed=seeds)
def test_change_layout(run: Runner, t: str, size: tuple[int, int, int, int], seed: int) -> None:
    shape = dict(zip(("batch", "height", "width", "channels"), size, strict=True))
    x = draw(seed, size, t)
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    (y,) = run(f"change_layout_{t}_True", shape, x, empty(first.shape, t), written=[1])
    assert y.tobytes() == first.tobytes()
    (y,) = run(f"change_layout_{t}_False", shape, first, empty(size, t), written=[1])
    assert y.tobytes() == x.tobytes()


# ---------------------------------------------------------------------------------------------------- pooling
@dataclass(frozen=True)
class Pool:
    size: tuple[int, int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    ceil: bool
    include: bool
    divisor: int

    def shape(self, out: Sequence[int]) -> dict[str, int]:
        n, h, w, c = self.size
        values = (n, h, w, c, *out, *self.kernel, *self.stride, *self.pad, int(self.include), self.divisor)
        return dict(zip(STRUCTS["odl_pool_shape"].split(), values, strict=True))


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pad = (draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2)))
    height = draw(st.integers(max(1, kernel[0] - 2 * pad[0]), 8))
    width = draw(st.integers(max(1, kernel[1] - 2 * pad[1]), 7))
    size = (draw(st.integers(1, 2)), height, width, draw(st.integers(1, 5)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return Pool(
        size, kernel, stride, pad, draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from([0, 0, 5]))
    )


def check_average_pool(run: Run, t: str, pool: Pool, seed: int) -> None:
    x = draw(seed, pool.size, t)
    reference = image(x, True)
    output = F.avg_pool2d(
        reference, pool.kernel, pool.stride, pool.pad, pool.ceil, pool.include, pool.divisor or None
    )
    dy = draw(seed + 1, last(output).shape, t)
    output.backward(image(dy))
    assert reference.grad is not None
    shape = pool.shape(output.shape[2:])
    terms = pool.kernel[0] * pool.kernel[1] + 1
    (y,) = run(f"average_pool_{t}", shape, x, empty(dy.shape, t), written=[1])
    close(y, last(output), terms, np.abs(x).max() * terms)
    (dx,) = run(f"average_pool_gradient_{t}", shape, dy, empty(x.shape, t), written=[1])
    close(dx, last(reference.grad), terms + 1, np.abs(dy).max() * terms)


def check_max_pool(run: Run, t: str, pool: Pool, seed: int) -> None:
    x = np.round(draw(seed, pool.size, t, 2.0))  # equal maxima are frequent
    reference = image(x, True)
    output = F.max_pool2d(reference, pool.kernel, pool.stride, pool.pad, 1, pool.ceil)
    dy = draw(seed + 1, last(output).shape, t)
    output.backward(image(dy))
    assert reference.grad is not None
    shape = pool.shape(output.shape[2:])
    y, winner = run(
        f"max_pool_{t}", shape, x, empty(dy.shape, t), np.full(dy.shape, 255, np.uint8), written=[1, 2]
    )
    close(y, last(output), 0.0)
    (dx,) = run(f"max_pool_gradient_{t}", shape, dy, winner, empty(x.shape, t), written=[2])
    terms = pool.kernel[0] * pool.kernel[1]
    close(dx, last(reference.grad), terms, np.abs(dy).max() * terms)


@settings(max_examples=40)
@given(t=types, pool=pools(), seed=seeds)
def test_pools(run: Runner, t: str, pool: Pool, seed: int) -> None:
    check_average_pool(run, t, pool, seed)
    check_max_pool(run, t, pool, seed)


def test_nan_and_minus_infinity_in_max_pool(run: Runner) -> None:
    x = np.array([1, np.nan, 3, -np.inf, -np.inf, -np.inf], np.float16).reshape(1, 1, 6, 1)
    pool = Pool((1, 1, 6, 1), (1, 3), (1, 3), (0, 0), False, True, 0)
    y, winner = run(
        "max_pool_f16",
        pool.shape((1, 2)),
        x,
        empty(2, "f16"),
        np.full(2, 9, np.uint8),
        written=[1, 2],
        overflow=None,
    )
    assert np.isnan(y[0]) and y[1] == -np.inf
    assert winner.tolist() == [1, 0]


@few
@given(t=types, size=sizes, seed=seeds)
def test_global_average_pool(run: Runner, t: str, size: tuple[int, int, int, int], seed: int) -> None:
    check_global_average_pool(run, t, size, seed)


def check_global_average_pool(run: Run, t: str, size: tuple[int, int, int, int], seed: int) -> None:
    n, h, w, c = size
    shape = {"batch": n, "height": h, "width": w, "channels": c}
    x, dy = draw(seed, size, t), draw(seed + 1, (n, c), t)
    (y,) = run(f"global_average_pool_{t}", shape, x, empty((n, c), t), written=[1])
    close(y, exact(x).mean(dim=(1, 2)), h * w + 1, np.abs(x).max())
    (dx,) = run(f"global_average_pool_gradient_{t}", shape, dy, empty(size, t), written=[1])
    close(dx, np.broadcast_to((exact(dy) / (h * w))[:, None, None, :], size), 1)


# ---------------------------------------------------------------------------------------- batch normalisation
@dataclass(frozen=True)
class Norm:
    """Operands of a batch normalisation."""

    t: str
    pixels: int
    channels: int
    seed: int

    @property
    def shape(self) -> dict[str, int]:
        return {"pixels": self.pixels, "channels": self.channels}

    def channel(self, index: int, dtype: str = "f32", offset: float = 0.0) -> Any:
        return (draw(self.seed + index, self.channels) * 0.5 + offset).astype(TYPES[dtype])

    def pixel(self, index: int) -> Any:
        values = draw(self.seed + index, (self.pixels, self.channels)) + self.channel(index + 10)
        return values.astype(TYPES[self.t])


def torch_norm(norm: Norm, training: bool, momentum: float, gamma: Any, eps: float = 1e-5) -> dict[str, Any]:
    """x, dy, statistics, and PyTorch's outputs and gradients."""
    mean, var = norm.channel(3), np.abs(norm.channel(4)) + np.float32(0.1)
    statistics = (exact(mean), exact(var))
    x, beta = norm.pixel(0), norm.channel(2, norm.t)
    leaves = (exact(x, True), exact(gamma, True), exact(beta, True))
    output = F.batch_norm(leaves[0], *statistics, leaves[1], leaves[2], training, momentum, eps)
    dy = norm.pixel(1)
    output.backward(exact(dy))
    return {
        "x": x, "dy": dy, "beta": beta, "mean": mean, "var": var, "y": output.clamp(min=0.0),
        "gradients": [leaf.grad for leaf in leaves], "after": statistics,
    }  # fmt: skip


def check_batch_norm_gradient(run: Run, kind: str, norm: Norm, r: dict[str, Any], *rest: Any) -> None:
    """dx, dgamma and dbeta; in place, alone, accumulated. rest: gamma, mean, variance or spread, [eps]."""
    t, c = norm.t, norm.channels
    gamma, mean, spread, *eps = rest
    name = f"batch_norm_{kind}_gradient_{t}"
    shapes = (r["x"].shape, c, c)
    outputs = [empty(shape, t) for shape in shapes]
    arguments = (r["dy"], r["x"], gamma, mean, spread)
    results = run(f"{name}_False", norm.shape, *arguments, *outputs, *eps, written=[5, 6, 7])
    inverse = np.asarray(spread) if kind == "train" else 1 / np.sqrt(spread + eps[0])
    size = np.abs(r["dy"]).sum(axis=0).astype(np.float64)
    normal = np.abs(r["x"] - mean).max(axis=0) * inverse
    sizes = [
        (np.abs(r["dy"]).max(axis=0) * 3 + size / norm.pixels * (1 + normal**2)) * np.abs(gamma) * inverse
    ]
    sizes += [size * normal, size]
    operations = norm.pixels + 20
    for result, expected, limit in zip(results, r["gradients"], sizes, strict=True):
        close(result, expected, operations, limit + 1e-3)
    (in_place,) = run(f"{name}_False", norm.shape, *arguments, r["dy"], None, None, *eps, written=[5])
    assert in_place.tobytes() == results[0].tobytes()
    before = [norm.channel(20, t), norm.channel(21, t)]
    sums = run(f"{name}_True", norm.shape, *arguments, None, *before, *eps, written=[6, 7])
    for result, start, expected, limit in zip(sums, before, r["gradients"][1:], sizes[1:], strict=True):
        close(result, exact(start) + expected, operations, limit + np.abs(start))
    (alone,) = run(f"{name}_False", norm.shape, *arguments, None, None, outputs[2], *eps, written=[7])
    assert alone.tobytes() == results[2].tobytes()


norms = st.builds(Norm, types, st.integers(2, 40), st.integers(1, 9), seeds)


@few
@given(norm=norms)
def test_batch_norm_frozen(run: Runner, norm: Norm) -> None:
    t, gamma, eps = norm.t, norm.channel(5, norm.t, 1.0), float(np.float32(1e-5))
    r = torch_norm(norm, False, 0.1, gamma, eps)
    arguments = (r["x"], gamma, r["beta"], r["mean"], r["var"])
    (y,) = run(
        f"batch_norm_frozen_{t}", norm.shape, *arguments, empty(r["x"].shape, t), eps, 0.0, INF, written=[5]
    )
    scale = np.abs(gamma) / np.sqrt(r["var"])
    size = (np.abs(r["x"]) + np.abs(r["mean"])) * scale + np.abs(r["beta"])
    close(y, r["y"], 6, size)
    (same,) = run(f"batch_norm_frozen_{t}", norm.shape, *arguments, r["x"], eps, 0.0, INF, written=[5])
    assert same.tobytes() == y.tobytes()
    gamma = norm.channel(6, "f32", 1.0)
    r = torch_norm(norm, False, 0.1, gamma, eps)
    check_batch_norm_gradient(run, "frozen", norm, r, gamma, r["mean"], r["var"], eps)


@few
@given(norm=norms)
def test_batch_norm_train(run: Runner, norm: Norm) -> None:
    check_batch_norm_train(run, norm)


def check_batch_norm_train(run: Run, norm: Norm) -> None:
    t, c, gamma = norm.t, norm.channels, norm.channel(5, norm.t, 1.0)
    momentum, eps = float(np.float32(0.1)), float(np.float32(1e-5))
    r = torch_norm(norm, True, momentum, gamma, eps)
    arguments = (r["x"], gamma, r["beta"], r["mean"], r["var"])
    outputs = (empty(r["x"].shape, t), empty(c, "f32"), empty(c, "f32"))
    results = run(
        f"batch_norm_train_{t}",
        norm.shape,
        *arguments,
        *outputs,
        momentum,
        eps,
        0.0,
        INF,
        written=[3, 4, 5, 6, 7],
    )
    wide = exact(r["x"])
    variance, largest = wide.var(0, unbiased=False), np.abs(r["x"]).max(axis=0).astype(np.float64)
    # Errors of mean and variance reach y multiplied by how much larger the data are than their spread.
    inverse = 1 / np.sqrt(np.asarray(variance) + eps)
    ratio = 1 + largest * inverse
    operations = 2 * norm.pixels + 10
    close(results[0], r["after"][0], operations, largest + 1.0)
    close(results[1], r["after"][1], operations, largest**2 + 1.0)
    close(results[2], r["y"], operations, (np.abs(gamma) * ratio**2 + np.abs(r["beta"])))
    close(results[3], wide.mean(0), operations, largest)
    close(results[4], inverse, operations, inverse * ratio**2)
    arguments = (*arguments, r["x"], *outputs[1:], momentum, eps, 0.0, INF)
    same = run(f"batch_norm_train_{t}", norm.shape, *arguments, written=[3, 4, 5, 6, 7])
    assert [item.tobytes() for item in same] == [item.tobytes() for item in results]
    gamma = norm.channel(6, "f32", 1.0)
    r = torch_norm(norm, True, momentum, gamma, eps)
    check_batch_norm_gradient(run, "train", norm, r, gamma, results[3], results[4])


# ----------------------------------------------------------------------------------------------------- losses
def check_losses(run: Run, t: str, batch: int, classes: int, seed: int, scale: float) -> None:
    shape = {"batch": batch, "classes": classes}
    output = draw(seed, (batch, classes), t, 3.0)
    target = np.abs(draw(seed + 1, (batch, classes)))
    weight = draw(seed + 2, batch)
    buffers = (np.full(1, np.nan, np.float32), empty(output.shape, t))
    for name in ("cross_entropy", "mean_squared_error"):
        reference = exact(output, True)
        if name == "cross_entropy":
            losses = -(exact(target) * F.log_softmax(reference, dim=1)).sum(1)
            slope = exact(target).sum() / batch
        else:
            losses = F.mse_loss(reference, exact(target), reduction="none").mean(1)
            slope = (np.abs(output).max() + target.max()) / (batch * classes)
        loss = (losses * exact(weight)).mean()
        loss.backward()
        assert reference.grad is not None
        arguments = (output, target, weight, *buffers, scale)
        results = run(f"{name}_{t}", shape, *arguments, written=[3, 4])
        size = float((losses * exact(weight)).detach().abs().mean()) + float(
            np.abs(weight).max() * target.sum()
        )
        close(results[0], loss, 2 * batch * classes + 10, size)
        limit = scale * np.abs(weight).max() * float(slope)
        close(results[1], reference.grad * scale, classes + 12, limit)


@few
@given(
    t=types,
    batch=st.integers(1, 4),
    classes=st.integers(1, 13),
    seed=seeds,
    scale=st.sampled_from([1.0, 256.0]),
)
def test_losses(run: Runner, t: str, batch: int, classes: int, seed: int, scale: float) -> None:
    check_losses(run, t, batch, classes, seed, scale)


def cross_entropy(run: Runner, logits: list[float], overflow: bool | None) -> Arrays:
    """Loss and gradient of one sample whose class is 1."""
    shape, target = {"batch": 1, "classes": 3}, np.array([[0, 1, 0]], np.float32)
    arguments = (np.array([logits], np.float16), target, np.ones(1, np.float32), empty(1, "f32"))
    arguments = (*arguments, empty((1, 3), "f16"), 1.0)
    return run("cross_entropy_f16", shape, *arguments, written=[3, 4], overflow=overflow)


def test_cross_entropy_of_far_logits(run: Runner) -> None:
    """No overflow, no flag, and the loss of a hopeless sample."""
    loss, gradient = cross_entropy(run, [6e4, -6e4, 0.0], False)
    assert loss[0] == np.float32(np.float16(6e4)) * 2
    assert gradient.tolist() == [[1.0, -1.0, 0.0]]


@pytest.mark.parametrize(("bad", "overflow"), [(np.nan, None), (INF, True)])
def test_bad_logits_are_seen(run: Runner, bad: float, overflow: bool | None) -> None:
    """A NaN makes loss and gradient NaN; so does infinity, which also leaves a flag for loss scaling."""
    for position in range(3):
        logits = [0.0, 0.0, 1.0]
        logits[position] = bad
        loss, gradient = cross_entropy(run, logits, overflow)
        assert np.isnan(loss).all()
        assert np.isnan(gradient).all()


def test_flags_tell_overflow(run: Runner) -> None:
    """An fp16 sum beyond the range is infinite and leaves a flag; in fp32 there is room."""
    big = np.full(3, 6e4, np.float16)
    arguments = (big, big, empty(3, "f16"), -INF, INF)
    (y,) = run("add_f16", {"count": 3}, *arguments, written=[2], overflow=True)
    assert np.isposinf(y).all()
    (y,) = run("accumulate_f16", {"count": 3}, np.full(3, 6e4, np.float32), big, written=[0])
    assert np.isfinite(y).all()


# ------------------------------------------------------------------------------------------------- optimizers
def check_optimizer(run: Run, name: str, t: str, copy: bool, extra: bool, n: int, seed: int) -> None:
    """Three steps; extra: with weight decay (and momentum)."""
    g_type = "f16" if copy else t
    hyper = {key: float(np.float32(value)) for key, value in {"lr": 0.05, "mu": 0.9, "wd": 0.01}.items()}
    beta1, beta2, eps = (float(np.float32(value)) for value in (0.9, 0.999, 1e-8))
    w = draw(seed, n, t)
    parameter = torch.nn.Parameter(exact(w))
    decay = hyper["wd"] if extra else 0.0
    if name == "sgd":
        reference: Any = torch.optim.SGD(
            [parameter], hyper["lr"], hyper["mu"] if extra else 0.0, weight_decay=decay
        )
        states = [np.zeros(n, TYPES[t])] if extra else []
    else:
        reference = torch.optim.Adam([parameter], hyper["lr"], (beta1, beta2), eps, decay)
        states = [np.zeros(n, np.float32), np.zeros(n, np.float32)]
    for step in range(1, 4):
        g = draw(seed + step, n, g_type, 8.0)
        parameter.grad = exact(g) / 8
        reference.step()
        copies = [g] if copy else []  # the gradient lies where the working copy goes
        numbers = [hyper["lr"], 0.125]
        if name == "adam":
            numbers += [1 - beta1, 1 - beta2, eps, 1 - beta1**step, 1 - beta2**step]
        elif extra:
            numbers.append(hyper["mu"])
        numbers += [hyper["wd"]] if extra else []
        arguments = [w, *copies, g, *states, *numbers]
        written = [0, *([1] if copy else []), *range(2 + copy, 2 + copy + len(states))]
        w, *rest = run(
            f"{name}_{t}_{'f16' if copy else 'none'}_{extra}", {"count": n}, *arguments, written=written
        )
        states = rest[1:] if copy else rest
        if copy:
            assert rest[0].tobytes() == w.astype(np.float16).tobytes() or t == "f32"
            close(rest[0], parameter, step * 2.0**13 if t == "f16" else 40, np.abs(w) + 0.3)
        # In fp16 the weight and the momentum are rounded in every step.
        close(w, parameter, step * 2.0**14 if t == "f16" else 40, np.abs(w) + 0.3)


@few
@given(t=types, copy=st.booleans(), extra=st.booleans(), n=st.integers(1, 40), seed=seeds)
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_optimizers(run: Runner, name: str, t: str, copy: bool, extra: bool, n: int, seed: int) -> None:
    check_optimizer(run, name, t, copy, extra, n, seed)


# ------------------------------------------------------------------------------------------------ mathematics
def call_math(library: ctypes.CDLL, name: str, x: Any) -> tuple[Any, Any]:
    x = np.ascontiguousarray(x, dtype=np.float32)
    y, flags = np.empty_like(x), np.empty(x.size, np.uint8)
    getattr(library, name)(
        *(ctypes.c_void_p(item.ctypes.data) for item in (x, y, flags)), ctypes.c_uint32(x.size)
    )
    return y.astype(np.float64), flags


@pytest.mark.parametrize("name", ["expf", "logf"])
def test_elementary_functions(libraries: list[ctypes.CDLL], name: str) -> None:
    """Relative error and flags over floats spread evenly among all bit patterns."""
    bits = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32)
    special = [
        0.0,
        -0.0,
        1.0,
        88.72283,
        88.722839,
        88.72284,
        89.0,
        89.1,
        -87.33655,
        -103.97,
        -103.98,
        -104.0,
        -104.1,
    ]
    x = np.concatenate([bits.view(np.float32), np.float32([*special, np.nextafter(np.float32(1), 0)])])
    x = x[np.isfinite(x)] if name == "expf" else x[np.isfinite(x) & (x > 0)]
    y, flags = call_math(libraries[0], f"test_{name}", x)
    with np.errstate(over="ignore", under="ignore"):
        truth = (np.exp if name == "expf" else np.log)(x.astype(np.float64))
    overflow = truth > np.finfo(np.float32).max * (1 + 2.0**-25)
    assert np.isposinf(y[overflow]).all()
    assert (flags == overflow).all()
    y, truth = y[~overflow], truth[~overflow]
    smallest = 2.0**-126 if name == "expf" else 0.0
    normal = np.abs(truth) > smallest
    assert (np.abs(y - truth)[normal] <= 1e-7 * np.abs(truth)[normal]).all()
    assert (np.abs(y - truth)[~normal] <= 2.0**-149).all()


def test_elementary_functions_at_the_ends(libraries: list[ctypes.CDLL]) -> None:
    y, flags = call_math(libraries[0], "test_expf", [INF, -INF, np.nan, 0.0])
    np.testing.assert_array_equal(y, [INF, 0.0, np.nan, 1.0])
    assert not flags.any()
    y, flags = call_math(libraries[0], "test_logf", [INF, 0.0, -0.0, -1.0, -INF, np.nan, 1.0])
    np.testing.assert_array_equal(y, [INF, -INF, -INF, np.nan, np.nan, np.nan, 0.0])
    assert flags.tolist() == [0, 1, 1, 1, 1, 0, 0]


# -------------------------------------------------------------------------------- faults, sanitizers, headers
def sweep(run: Run) -> None:
    """One call of everything, for the tests below."""
    for t in TYPES:
        check_relu(run, t, 13, 1, 0.0, 6.0)
        pool = Pool((2, 5, 6, 3), (3, 2), (2, 1), (1, 1), False, False, 0)
        check_average_pool(run, t, pool, 2)
        check_average_pool(run, t, replace(pool, include=True), 2)
        check_max_pool(run, t, pool, 3)
        check_global_average_pool(run, t, (2, 3, 3, 5), 4)
        check_batch_norm_train(run, Norm(t, 11, 5, 5))
        check_losses(run, t, 2, 5, 6, 1.0)
        for name in ("sgd", "adam"):
            check_optimizer(run, name, t, True, True, 9, 7)
            check_optimizer(run, name, t, False, False, 9, 8)


FAULTS = {
    "one element too many": ("relu", "i < end", "i <= end"),
    "core 1 idle": ("relu_gradient", "core, cores); i < end", "core, cores); core != 1 && i < end"),
    "limits belong to the inside": ("relu_gradient", "v <= low", "v < low"),
    "wrong divisor": ("average_pool", "rows.size * columns.size", "rows.size"),
    "padding counted": (
        "average_pool_gradient",
        "include_pad != 0 || origin > pad",
        "origin >= 0 || origin > pad",
    ),
    "last maximum wins": ("max_pool", "v > best", "v >= best"),
    "one window missed": ("max_pool_gradient", "/ stride + 1;", "/ stride + 2;"),
    "gradient not divided": ("global_average_pool_gradient", " / (float)pixels", ""),
    "biased running variance": ("batch_norm_train", "(float)(s->pixels - 1)", "(float)s->pixels"),
    "mean of dy left in": ("batch_norm_train_gradient", " - average", ""),
    "weight forgotten": ("cross_entropy", "weight[n] / (float)", "1.0f / (float)"),
    "scale forgotten": ("mean_squared_error", "2.0f * ", ""),
    "uphill": ("sgd", "-learning_rate", "learning_rate"),
    "no bias correction": ("adam", "correction, eps", "1.0f, eps"),
}


@pytest.fixture(scope="module")
def faulty(folder: Path) -> ctypes.CDLL:
    """All faults at once: each is in kernels of its own."""
    sources = render()[1]
    for template, before, after in FAULTS.values():
        for name in (name for name, context in CONTEXTS.items() if context["template"] == template):
            assert before in sources[name]
            sources[name] = sources[name].replace(before, after)
    return ctypes.CDLL(str(compiled(folder, "gcc", [*SHARED, "-O0", "-w"], {"faulty": unity(sources)})))


def test_kernels_without_faults_pass(run: Runner) -> None:
    sweep(run)


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_caught(libraries: list[ctypes.CDLL], faulty: ctypes.CDLL, fault: str) -> None:
    good, bad = Runner(libraries[:1]), Runner([faulty])

    def run(name: str, *arguments: Any, **options: Any) -> Arrays:
        wrong = CONTEXTS[name]["template"] == FAULTS[fault][0]
        return (bad if wrong else good)(name, *arguments, **options)

    with pytest.raises(AssertionError):
        sweep(run)


def test_fast_dialect(folder: Path) -> None:
    """The same bounds hold where the compiler may fuse and vectorise."""
    options = ["-march=native", *SHARED, "-O3", "-ffp-contract=fast", "-DODL_ISA_HOST_FAST"]
    sweep(Runner([ctypes.CDLL(str(compiled(folder, "gcc", options, {"fast": unity(render()[1])})))]))


def program(calls: Sequence[Call]) -> str:
    """A C program that repeats the calls on heap blocks of the exact size and compares the results."""
    text = "#include <stdlib.h>\nint main(void) {\n"
    for name, shape, arguments, written, results in calls:
        struct = next(key for key, names in STRUCTS.items() if set(shape) == set(names.split()))
        blocks: dict[int, str] = {}
        given = []
        text += "    {\n"
        for item in arguments:
            if isinstance(item, np.ndarray) and id(item) not in blocks:
                blocks[id(item)] = block = f"block_{len(blocks)}"
                content = ", ".join(map(str, item.tobytes()))
                text += f"        static const uint8_t {block}_before[] = {{{content}}};\n"
                text += f"        void *{block} = malloc(sizeof {block}_before);\n"
                text += f"        memcpy({block}, {block}_before, sizeof {block}_before);\n"
            if isinstance(item, np.ndarray):
                given.append(blocks[id(item)])
            else:
                given.append("NULL" if item is None else "INFINITY" if item == INF else f"(float){item!r}")
        values = ", ".join(f".{key} = {value}" for key, value in shape.items())
        text += f"        const struct {struct} shape = {{{values}}};\n"
        text += f"        {name}(&shape, {', '.join(given)}, 0, 1);\n"
        for index, result in zip(written, results, strict=True):
            content = ", ".join(map(str, result.tobytes()))
            text += f"        static const uint8_t after_{index}[] = {{{content}}};\n"
            text += f"        if (memcmp({given[index]}, after_{index}, sizeof after_{index}) != 0) {{\n"
            text += "            return 1;\n        }\n"
        text += "".join(f"        free({block});\n" for block in blocks.values()) + "    }\n"
    return f"{text}    return 0;\n}}\n"


def test_sanitizers(folder: Path, libraries: list[ctypes.CDLL]) -> None:
    """No undefined behaviour, nothing read or written outside, and the same bits once more."""
    recorder = Runner(libraries[:1])
    sweep(recorder)
    options = ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    file = compiled(folder, "gcc", options, {"sanitized": unity(render()[1]) + program(recorder.calls)})
    done = subprocess.run([str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_file_stands_alone(folder: Path) -> None:
    """One file of every template compiles by itself, and odl_math.h where nothing of it is used."""
    sources = render()[1]
    chosen = {context["template"]: sources[name] for name, context in CONTEXTS.items()}
    assert chosen.keys() <= {path.name.removesuffix(".c.j2") for path in KERNELS.glob("*.c.j2")}
    compiler = "clang-22" if shutil.which("clang-22") else "gcc"
    compiled(
        folder,
        compiler,
        ["-fsyntax-only", "-Wno-unused-command-line-argument"],
        {**chosen, "empty": '#include "odl_math.h"\n'},
    )
