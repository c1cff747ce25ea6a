"""Convolution kernels: float64, bit for bit with the stated order of sums, shares of cores, guard zones."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.kernels import conv_reference as reference
from tests.kernels.conv_library import (
    DTYPES,
    EXACT,
    FAST,
    NUMBERS,
    ChannelShape,
    Library,
    Numbers,
    Shape,
    Tiles,
    build,
    conv_shape,
)

WIDE = [*EXACT, "-DODL_LANES_F16=8", "-DODL_LANES_F32=4"]
# dialect: register tiles (results must not depend on them), chunk of "mixed", flags, lanes of fp16 and fp32
# (None: the order of sums is not fixed)
DIALECTS = {
    "exact": (Tiles(4, 2, 2), 8, EXACT, (2, 1)),
    "exact-wide": (Tiles(3, 1, 1), 64, WIDE, (8, 4)),
    "fast": (Tiles(2, 4, 2), 8, FAST, None),
}


def numbers_of(chunk: int) -> dict[str, Numbers]:
    return NUMBERS | {"mixed": replace(NUMBERS["mixed"], chunk=chunk)}


@pytest.fixture(scope="session")
def libraries(tmp_path_factory):
    """Dialect -> Library, each compiled when first asked for."""
    built: dict[str, Library] = {}

    def library(dialect: str) -> Library:
        if dialect not in built:
            tiles, chunk, flags, _ = DIALECTS[dialect]
            numbers = numbers_of(chunk)
            if dialect == "fast":
                del numbers["fp16"]  # chunks make no difference in fp32
            path = build(tmp_path_factory.mktemp(dialect), tiles, flags, numbers)
            built[dialect] = Library(path)
        return built[dialect]

    return library


@st.composite
def shapes(draw) -> Shape:
    """Any convolution of modest cost; windows may reach into, or lie wholly in, the padding on every side."""
    sizes, strides = st.integers(1, 7), st.integers(1, 3)
    kernel_h, kernel_w = draw(st.one_of(st.tuples(sizes, sizes), st.just((3, 3))))
    stride_h, stride_w = draw(st.one_of(st.tuples(strides, strides), st.sampled_from([(1, 1), (2, 2)])))
    return Shape(
        batch=draw(st.integers(1, 3)),
        in_h=draw(st.integers(1, 6)),
        in_w=draw(st.integers(1, 12)),
        in_c=draw(st.integers(1, 17)),
        out_h=draw(st.integers(1, 4)),
        out_w=draw(st.integers(1, 9)),
        out_c=draw(st.integers(1, 17)),
        kernel_h=kernel_h,
        kernel_w=kernel_w,
        stride_h=stride_h,
        stride_w=stride_w,
        pad_top=draw(st.integers(0, kernel_h)),
        pad_left=draw(st.integers(0, kernel_w + 2)),
    )


RESNET = Shape(1, 5, 10, 16, 5, 10, 16, 3, 3, 1, 1, 1, 1)
STRIDED = Shape(2, 6, 9, 4, 3, 5, 8, 3, 3, 2, 2, 0, 0)
LINEAR = Shape(1, 1, 3, 17, 1, 3, 10, 1, 1, 1, 1, 0, 0)
TALL = Shape(1, 9, 9, 3, 3, 3, 5, 10, 4, 2, 2, 4, 1)
LONG = Shape(1, 3, 70, 33, 3, 70, 9, 2, 3, 1, 1, 0, 1)  # runs beyond a chunk of 64


class Case:
    """Random operands of one shape, and how to call and judge every kernel on them."""

    def __init__(
        self, library: Library, lanes, variant: tuple[str, Numbers], shape: Shape, seed: int, cores: int
    ) -> None:
        self.library, self.cores = library, cores
        self.variant, self.numbers = variant
        self.lanes = lanes and lanes[0 if self.numbers.T == "f16" else 1]
        self.exact_half = lanes is not None and self.numbers.T == "f16"
        self.shape = shape
        self.random = np.random.default_rng(seed)
        self.wild = seed % 4 == 3  # infinities, NaNs, overflow and subnormal numbers among the operands
        self.T, self.P, self.G = (DTYPES[getattr(self.numbers, t)] for t in "TPG")

    def tensor(self, *size: int, dtype=None, scale: float = 1.0) -> np.ndarray:
        values = self.random.normal(0, scale, size)
        if self.wild:
            special = [np.inf, -np.inf, np.nan, 0.0, -0.0, 6e-8, -6e-8, 6e-5, 60000.0, -300.0]
            values = np.where(self.random.random(size) < 0.03, self.random.choice(special, size), values)
        return values.astype(dtype or self.T)

    def maybe(self, *size: int, dtype=None):
        return self.tensor(*size, dtype=dtype) if self.random.random() < 0.6 else None

    def limits(self) -> list[float]:
        return [[-np.inf, np.inf], [0.0, np.inf], [0.0, 1.5]][self.random.integers(3)]

    def poison(self, *size: int, dtype=None) -> np.ndarray:
        return np.full(size, np.nan, dtype or self.T)

    def run(self, kernel: str, inputs: list, output: np.ndarray, limits: list[float], suffix: str = ""):
        shape = self.shape
        struct = (
            conv_shape(shape)
            if kernel != "channel_sum"
            else ChannelShape(shape.batch * shape.out_h * shape.out_w, shape.out_c)
        )
        name = f"{kernel}_{self.variant}{suffix}"
        with_addend = self.random.random() < 0.5 and "weight" not in kernel and kernel != "channel_sum"
        if with_addend and inputs[3 if "forward" in kernel else 2] is not None:
            at = 3 if "forward" in kernel else 2  # the addend may be the output
            output, inputs = inputs[at], [*inputs[:at], "output", *inputs[at + 1 :]]
        return self.library.call(name, struct, inputs, output, limits, self.cores)

    def judge(self, got, sums64, magnitude, terms: int, finish, bits) -> None:
        """got against finish(float64 sums) within the error of a sum of `terms`, and against finish(bits)."""
        assert got.shape == sums64.shape
        if not self.wild:
            store = 2.0**-11 if got.dtype == np.float16 else 2.0**-24
            sums = 2.0**-11 if self.exact_half else 2.0**-24
            want = finish(sums64)
            bound = (terms + 8) * sums * (magnitude + 8) + 2 * store * np.abs(want) + terms * 2.0**-25
            assert np.all(np.abs(got.astype(np.float64) - want) <= bound)
        if self.lanes:
            assert_same_bits(got, reference.narrowed(finish(bits()), got.dtype))

    def everything(self) -> None:
        """Every kernel (depthwise: with as many outputs as inputs)."""
        with np.errstate(all="ignore"):  # sums of wild operands
            self.every_kernel()

    def every_kernel(self) -> None:
        shape = self.shape
        self.forward(depthwise=False)
        self.input_gradient(depthwise=False)
        self.weight_gradient(depthwise=False)
        self.channel_sum()
        self.shape = replace(shape, out_c=shape.in_c)
        self.forward(depthwise=True)
        self.input_gradient(depthwise=True)
        self.weight_gradient(depthwise=True)
        self.shape = shape

    def forward(self, depthwise: bool) -> None:
        s = self.shape
        x, bias = self.tensor(s.batch, s.in_h, s.in_w, s.in_c), self.maybe(s.out_c, dtype=self.P)
        w = self.weights(depthwise)
        addend, (low, high) = self.maybe(s.batch, s.out_h, s.out_w, s.out_c), self.limits()
        kernel = "depthwise_forward" if depthwise else "conv2d_forward"
        got = self.run(
            kernel, [x, w, bias, addend], self.poison(s.batch, s.out_h, s.out_w, s.out_c), [low, high]
        )

        def finish(v):
            if addend is not None:
                v = reference.add(v, addend.astype(v.dtype))
            return np.where(v <= low, v.dtype.type(low), np.where(v >= high, v.dtype.type(high), v))

        def with_bias(v):
            return v if bias is None else v + bias.astype(v.dtype)

        self.judge(
            got,
            with_bias(reference.forward64(s, x.astype(float), w.astype(float), depthwise)),
            reference.forward64(s, np.abs(x.astype(float)), np.abs(w.astype(float)), depthwise),
            s.kernel_h * s.kernel_w * s.in_c,
            finish,
            lambda: reference.forward_bits(s, x, w, bias, depthwise, self.lanes, self.numbers.chunk),
        )

    def input_gradient(self, depthwise: bool) -> None:
        s = self.shape
        dy, w = self.tensor(s.batch, s.out_h, s.out_w, s.out_c), self.weights(depthwise)
        size = (s.batch, s.in_h, s.in_w, s.in_c)
        addend, (low, high), mask = self.maybe(*size), self.limits(), self.maybe(*size)
        kernel = "depthwise_input_gradient" if depthwise else "conv2d_input_gradient"
        got = self.run(kernel, [dy, w, addend, mask], self.poison(*size), [low, high])

        def finish(v):
            if addend is not None:
                v = reference.add(v, addend.astype(v.dtype))
            if mask is None:
                return v
            blocked = (mask <= low) & (low > -np.inf) | (mask >= high) & (high < np.inf)
            return np.where(blocked, v.dtype.type(0), v)

        self.judge(
            got,
            reference.input_gradient64(s, dy.astype(float), w.astype(float), depthwise),
            reference.input_gradient64(s, np.abs(dy.astype(float)), np.abs(w.astype(float)), depthwise),
            s.kernel_h * s.kernel_w * s.out_c,
            finish,
            lambda: reference.input_gradient_bits(s, dy, w, depthwise, self.numbers.chunk),
        )

    def weight_gradient(self, depthwise: bool) -> None:
        s = self.shape
        x = self.tensor(s.batch, s.in_h, s.in_w, s.in_c)
        dy = self.tensor(s.batch, s.out_h, s.out_w, s.out_c)
        kernel = "depthwise_weight_gradient" if depthwise else "conv2d_weight_gradient"
        self.parameter_gradient(
            kernel,
            [x, dy],
            reference.weight_gradient64(s, x.astype(float), dy.astype(float), depthwise),
            reference.weight_gradient64(s, np.abs(x.astype(float)), np.abs(dy.astype(float)), depthwise),
            lambda: reference.weight_gradient_bits(s, x, dy, depthwise, self.numbers.chunk),
        )

    def channel_sum(self) -> None:
        s = self.shape
        dy = self.tensor(s.batch, s.out_h, s.out_w, s.out_c)
        wide = dy.astype(float)
        self.parameter_gradient(
            "channel_sum",
            [dy],
            wide.sum((0, 1, 2)),
            np.abs(wide).sum((0, 1, 2)),
            lambda: reference.channel_sum_bits(dy),
        )

    def parameter_gradient(self, kernel: str, inputs: list, sums64, magnitude, bits) -> None:
        terms = self.shape.batch * self.shape.out_h * self.shape.out_w
        before = self.tensor(*sums64.shape, dtype=self.G)
        got = self.run(kernel, inputs, self.poison(*sums64.shape, dtype=self.G), [])
        self.judge(got, sums64, magnitude, terms, lambda v: v, bits)
        if self.variant == "fp32":
            return  # accumulates as the others do
        got = self.run(kernel, inputs, before, [], suffix="_accumulate")
        self.judge(got, sums64, magnitude, terms, lambda v: reference.add(before.astype(v.dtype), v), bits)

    def weights(self, depthwise: bool) -> np.ndarray:
        s = self.shape
        if depthwise:
            return self.tensor(s.kernel_h, s.kernel_w, s.in_c, scale=0.5)
        return self.tensor(s.out_c, s.kernel_h, s.kernel_w, s.in_c, scale=0.5)


def assert_same_bits(got: np.ndarray, want: np.ndarray) -> None:
    """Equal bits; a NaN of fp32 has no canonical form on hosts."""
    if got.dtype == np.float16:
        assert np.array_equal(got.view(np.uint16), want.view(np.uint16))
    else:
        assert np.array_equal(np.isnan(got), np.isnan(want))
        same = got.view(np.uint32) == want.view(np.uint32)
        assert np.all(same | np.isnan(got))


@pytest.mark.parametrize(
    ("dialect", "numbers"), [pair for pair in product(DIALECTS, NUMBERS) if pair != ("fast", "fp16")]
)
def test_kernels(libraries, dialect: str, numbers: str) -> None:
    library = libraries(dialect)
    _, chunk, _, lanes = DIALECTS[dialect]
    variant = (numbers, numbers_of(chunk)[numbers])

    @given(shapes(), st.integers(0, 1000), st.integers(1, 3))
    @example(RESNET, 0, 3)
    @example(RESNET, 3, 1)
    @example(STRIDED, 1, 2)
    @example(LINEAR, 0, 3)
    @example(TALL, 2, 2)
    @example(LONG, 0, 8)
    @example(LONG, 3, 1)
    @settings(max_examples=20)
    def run(shape: Shape, seed: int, cores: int) -> None:
        Case(library, lanes, variant, shape, seed, cores).everything()

    run()


@pytest.mark.parametrize(("dialect", "numbers"), [("exact", "mixed"), ("fast", "fp32")])
def test_sanitized(tmp_path: Path, dialect: str, numbers: str) -> None:
    """No access beyond any operand and no undefined behaviour, on operands without guard zones.

    Compiled for the architecture's baseline, which takes the paths without F16C, FMA and AVX.
    """
    tiles, _, flags, _ = DIALECTS[dialect]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O0"]
    kept = [flag for flag in flags if not flag.startswith(("-O", "-march"))]
    library = build(tmp_path, tiles, [*kept, *sanitizers], {numbers: NUMBERS[numbers]})
    found = [
        subprocess.run(
            ["gcc", f"-print-file-name=lib{name}.so"], capture_output=True, text=True
        ).stdout.strip()
        for name in ("asan", "ubsan")
    ]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SANITIZED, str(library), dialect, numbers],
        env=os.environ
        | {"LD_PRELOAD": " ".join(found), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == "done\n"


SANITIZED = """
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from tests.kernels.conv_library import NUMBERS, Library
from tests.kernels.test_conv_kernels import DIALECTS, Case, some_shapes
_, library, dialect, numbers = sys.argv
for seed, shape in enumerate(some_shapes()):
    variant = (numbers, NUMBERS[numbers])
    lanes = DIALECTS[dialect][3]
    Case(Library(Path(library), guard=0), lanes, variant, shape, seed, cores=1 + seed % 3).everything()
print("done")
"""


def some_shapes() -> list[Shape]:
    """Small shapes with every kind of border."""
    random = np.random.default_rng(5)

    def draw() -> Shape:
        kernel = random.integers(1, 6, 2)
        sizes = random.integers([1, 1, 1, 1, 1, 1, 1], [3, 6, 9, 11, 5, 7, 11])
        batch, in_h, in_w, in_c, out_h, out_w, out_c = sizes
        pads = random.integers(0, kernel + 2)
        drawn = (batch, in_h, in_w, in_c, out_h, out_w, out_c, *kernel, *random.integers(1, 4, 2), *pads)
        return Shape(*map(int, drawn))

    return [LINEAR, STRIDED] + [draw() for _ in range(20)]


def test_faults_are_caught(libraries) -> None:
    """The checks fail where the chunk, the number of lanes or a border is not what it should be."""
    library, mixed = libraries("exact"), NUMBERS["mixed"]
    for wrong, lanes in ((replace(mixed, chunk=16), (2, 1)), (mixed, (8, 1))):
        with pytest.raises(AssertionError):
            Case(library, lanes, ("mixed", wrong), RESNET, 0, 1).forward(depthwise=False)

    class Shifted:
        def call(self, name, shape, *rest):
            return library.call(name, conv_shape(replace(RESNET, pad_left=2)), *rest)

    for check in (Case.forward, Case.input_gradient, Case.weight_gradient):
        with pytest.raises(AssertionError):
            check(Case(Shifted(), None, ("mixed", mixed), RESNET, 0, 1), depthwise=False)
