"""Convolution kernels: float64, bit for bit with the stated order of sums, every share of cores, guard zones."""

import os
import subprocess
import sys
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

# dialect: register tiles (results must not depend on them), flags, lanes of fp16 and fp32 (None: bits not fixed)
DIALECTS = {
    "exact": (Tiles(4, 2, 2), EXACT, (2, 1)),
    "exact-wide": (Tiles(3, 1, 1), [*EXACT, "-DODL_LANES_F16=8", "-DODL_LANES_F32=4"], (8, 4)),
    "fast": (Tiles(2, 4, 2), FAST, None),
}


@pytest.fixture(scope="session")
def libraries(tmp_path_factory):
    """Dialect -> Library, each compiled when first asked for."""
    built: dict[str, Library] = {}

    def library(dialect: str) -> Library:
        if dialect not in built:
            tiles, flags, _ = DIALECTS[dialect]
            built[dialect] = Library(build(tmp_path_factory.mktemp(dialect), tiles, flags))
        return built[dialect]

    return library


@st.composite
def shapes(draw) -> Shape:
    """Any convolution of modest cost; windows may reach into, or lie wholly in, the padding on every side."""
    kernel_h, kernel_w = draw(st.integers(1, 7)), draw(st.integers(1, 7))
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
        stride_h=draw(st.integers(1, 3)),
        stride_w=draw(st.integers(1, 3)),
        pad_top=draw(st.integers(0, kernel_h)),
        pad_left=draw(st.integers(0, kernel_w + 2)),
    )


RESNET = Shape(1, 5, 10, 16, 5, 10, 16, 3, 3, 1, 1, 1, 1)
STRIDED = Shape(2, 6, 9, 4, 3, 5, 8, 3, 3, 2, 2, 0, 0)
LINEAR = Shape(1, 1, 3, 17, 1, 3, 10, 1, 1, 1, 1, 0, 0)
TALL = Shape(1, 9, 9, 3, 3, 3, 5, 10, 4, 2, 2, 4, 1)


class Case:
    """Random operands of one shape, and how to call and judge every kernel on them."""

    def __init__(
        self,
        library: Library,
        lanes,
        name: str,
        shape: Shape,
        seed: int,
        cores: int,
        numbers: Numbers | None = None,
    ) -> None:
        self.library, self.numbers_name, self.cores = library, name, cores
        self.numbers: Numbers = numbers or NUMBERS[name]
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
        name = f"{kernel}_{self.numbers_name}{suffix}"
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
        shape = self.shape
        self.forward(depthwise=False)
        self.input_gradient(depthwise=False)
        self.weight_gradient(depthwise=False)
        self.channel_sum()
        self.shape = Shape(**{**vars(shape), "out_c": shape.in_c})
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
            for term in (bias, addend):
                if term is not None:
                    v = reference.add(v, term.astype(v.dtype))
            return np.where(v < low, v.dtype.type(low), np.where(v > high, v.dtype.type(high), v))

        self.judge(
            got,
            reference.forward64(s, x.astype(float), w.astype(float), depthwise),
            reference.forward64(s, np.abs(x.astype(float)), np.abs(w.astype(float)), depthwise),
            s.kernel_h * s.kernel_w * s.in_c,
            finish,
            lambda: reference.forward_bits(s, x, w, depthwise, self.lanes, self.numbers.chunk),
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
            return v if mask is None else np.where((mask <= low) | (mask >= high), v.dtype.type(0), v)

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


def check(library: Library, lanes, numbers: str, shape: Shape, seed: int, cores: int) -> None:
    Case(library, lanes, numbers, shape, seed, cores).everything()


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_kernels(libraries, dialect: str, numbers: str) -> None:
    library, lanes = libraries(dialect), DIALECTS[dialect][2]

    @given(shapes(), st.integers(0, 1000), st.integers(1, 3))
    @example(RESNET, 0, 3)
    @example(RESNET, 3, 1)
    @example(STRIDED, 1, 2)
    @example(LINEAR, 0, 3)
    @example(TALL, 2, 2)
    @settings(max_examples=20)
    def run(shape: Shape, seed: int, cores: int) -> None:
        check(library, lanes, numbers, shape, seed, cores)

    run()


def test_chunk_of_64(tmp_path: Path) -> None:
    """Runs longer than a chunk, of the length that is used in practice, on each core of eight."""
    numbers = {"mixed": Numbers("f16", "f16", "f16", 64)}
    library = Library(build(tmp_path, Tiles(4, 2, 2), EXACT, numbers=numbers))
    wide = Shape(1, 3, 70, 33, 3, 70, 9, 2, 3, 1, 1, 0, 1)
    for seed in (0, 3):
        case = Case(library, (2, 1), "mixed", wide, seed, cores=8, numbers=numbers["mixed"])
        case.everything()


@pytest.mark.parametrize("dialect", ["exact", "fast"])
def test_sanitized(tmp_path: Path, dialect: str) -> None:
    """No access beyond any operand and no undefined behaviour, on operands without guard zones."""
    tiles, flags, _ = DIALECTS[dialect]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g"]
    kept = [flag for flag in flags if not flag.startswith(("-O", "-march"))]
    numbers = {"mixed": NUMBERS["mixed"], "fp32": NUMBERS["fp32"]}
    library = build(tmp_path, tiles, [*kept, *sanitizers], numbers=numbers)
    found = [
        subprocess.run(
            ["gcc", f"-print-file-name=lib{name}.so"], capture_output=True, text=True
        ).stdout.strip()
        for name in ("asan", "ubsan")
    ]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SANITIZED, str(library), dialect],
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
from pathlib import Path
from tests.kernels.conv_library import Library
from tests.kernels.test_conv_kernels import check, some_shapes
library = Library(Path(sys.argv[1]), guard=0)
lanes = {"exact": (2, 1), "fast": None}[sys.argv[2]]
for seed, shape in enumerate(some_shapes()):
    for numbers in ("fp32", "mixed"):
        check(library, lanes, numbers, shape, seed, cores=1 + seed % 3)
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


def test_faults_are_caught(tmp_path: Path, libraries) -> None:
    """The same checks fail on kernels with a fault in the order of sums, a border, or the chunk rule."""
    library = libraries("exact")
    numbers = NUMBERS["mixed"]
    other = Numbers("f16", "f32", "f32", 16)
    for wrong, lanes in ((other, (2, 1)), (numbers, (8, 1))):
        with pytest.raises(AssertionError):
            Case(library, lanes, "mixed", RESNET, 0, 1, numbers=wrong).everything()
    shifted = Shape(**{**vars(RESNET), "pad_left": 2})
    case = Case(library, None, "mixed", RESNET, 0, 1)
    real = case.library.call
    case.library = type(
        "Shifted", (), {"call": lambda _, name, shape, *rest: real(name, conv_shape(shifted), *rest)}
    )()
    with pytest.raises(AssertionError):
        case.forward(depthwise=False)
