"""Convolution kernels: float64, bit for bit with the stated order of sums, shares of cores, guard zones."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.kernels.cases import NUMBERS, Case, Function, Shape, Tiles, convolutions
from tests.kernels.conv_checks import Operands, check_convolutions, judge
from tests.kernels.kernel_library import EXACT, FAST, WIDE, Runner, library

# dialect: register tiles (results must not depend on them), chunk of "mixed", flags, lanes of fp16 and fp32
# (None: the order of sums is not fixed)
DIALECTS = {
    "exact": (Tiles(4, 2, 2), 8, EXACT, (2, 1)),
    "exact-wide": (Tiles(3, 1, 1), 64, WIDE, (8, 4)),
    "fast": (Tiles(2, 4, 2), 8, FAST, None),
}


def functions_of(dialect: str) -> dict[str, Function]:
    tiles, chunk, _, _ = DIALECTS[dialect]
    numbers = {name: replace(item, chunk=item.chunk and chunk) for name, item in NUMBERS.items()}
    if dialect == "fast":
        del numbers["fp16"]  # chunks make no difference in fp32
    return convolutions(numbers, tiles)


def sums_of(dialect: str) -> tuple[tuple[int, int] | None, bool]:
    """Lanes, and whether fp16 is summed in fp16."""
    lanes = DIALECTS[dialect][3]
    return lanes, lanes is not None


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Dialect -> (functions, library), each compiled when first asked for."""
    made: dict[str, tuple[Mapping[str, Function], ctypes.CDLL]] = {}

    def of(dialect: str) -> tuple[Mapping[str, Function], ctypes.CDLL]:
        if dialect not in made:
            functions, options = functions_of(dialect), DIALECTS[dialect][2]
            path = library(tmp_path_factory.mktemp(dialect), functions.values(), options)
            made[dialect] = functions, ctypes.CDLL(str(path))
        return made[dialect]

    return of


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


@st.composite
def matching(draw) -> Shape:
    """A window of 3 x 3 with the outputs that its inputs have, as in most networks; kernels have quicker ways for it."""
    stride, pads, small = draw(st.sampled_from([1, 2])), st.integers(0, 2), st.integers(1, 4)
    top, left, bottom, right = (draw(pads) for _ in range(4))
    in_h = max(draw(st.one_of(small, st.integers(1, 9))), 3 - top - bottom)
    in_w = max(draw(st.one_of(small, st.integers(1, 9))), 3 - left - right)
    out_h, out_w = (in_h + top + bottom - 3) // stride + 1, (in_w + left + right - 3) // stride + 1
    in_c, out_c, batch = draw(st.integers(4, 17)), draw(st.integers(1, 17)), draw(st.integers(1, 2))
    return Shape(batch, in_h, in_w, in_c, out_h, out_w, out_c, 3, 3, stride, stride, top, left)


@st.composite
def special(draw) -> Shape:
    """Others that kernels have ways of their own for: a single pixel, few input channels, sums longer than a chunk."""
    kind, out_c = draw(st.integers(0, 2)), draw(st.sampled_from([1, 2, 5, 8, 16, 32]))
    if kind == 0:
        return Shape(1, 1, 1, draw(st.sampled_from([2, 8, 16, 7])), 1, 1, out_c, 1, 1, 1, 1, 0, 0)
    if kind == 1:
        width, in_c = draw(st.integers(1, 5)), draw(st.sampled_from([1, 3]))
        return Shape(2, 3, width, in_c, 3, width, out_c, 3, 3, 1, 1, 1, 1)
    kernel, width = draw(st.sampled_from([1, 3, 9])), draw(st.integers(10, 75))
    return Shape(
        1,
        kernel,
        width,
        draw(st.sampled_from([9, 40, 70])),
        1,
        width,
        out_c,
        kernel,
        kernel,
        1,
        1,
        0,
        kernel // 2,
    )


RESNET = Shape(1, 5, 10, 16, 5, 10, 16, 3, 3, 1, 1, 1, 1)
STRIDED = Shape(2, 6, 9, 4, 3, 5, 8, 3, 3, 2, 2, 0, 0)
LINEAR = Shape(1, 1, 3, 17, 1, 3, 10, 1, 1, 1, 1, 0, 0)
TALL = Shape(1, 9, 9, 3, 3, 3, 5, 10, 4, 2, 2, 4, 1)
LONG = Shape(1, 3, 70, 33, 3, 70, 9, 2, 3, 1, 1, 0, 1)  # runs beyond a chunk of 64


def check(built, dialect: str, numbers: str, examples: int) -> None:
    functions, compiled = built(dialect)

    @given(st.one_of(shapes(), matching(), matching(), special()), st.integers(0, 1000), st.integers(1, 3))
    @example(RESNET, 0, 3)
    @example(RESNET, 3, 1)
    @example(STRIDED, 1, 2)
    @example(LINEAR, 0, 3)
    @example(TALL, 2, 2)
    @example(LONG, 0, 8)
    @example(LONG, 3, 1)
    @settings(max_examples=examples)
    def run(shape: Shape, seed: int, cores: int) -> None:
        operands = Operands(functions, numbers, shape, seed)
        check_convolutions(Runner([compiled], [range(cores)]).call, operands, *sums_of(dialect))

    run()


every_dialect = pytest.mark.parametrize(
    ("dialect", "numbers"), [pair for pair in product(DIALECTS, NUMBERS) if pair != ("fast", "fp16")]
)


@every_dialect
def test_kernels(built, dialect: str, numbers: str) -> None:
    check(built, dialect, numbers, 20)


@pytest.mark.long
@every_dialect
def test_many_shapes(built, dialect: str, numbers: str) -> None:
    """The shapes that all branches of the kernels need, which the assurance pack counts."""
    check(built, dialect, numbers, 400)


def sides(stride: int) -> list[tuple[int, int, int]]:
    """Inputs, outputs and padding before them, along one side: every way of a window of 3 to reach over borders."""
    return [
        (size, (before + size + after - 3) // stride + 1, before)
        for size, before, after in product(range(1, 8), range(3), range(4))
        if before + size + after >= 3
    ]


def borders(stride: int) -> Iterator[Shape]:
    """Depthwise convolutions with these sides, each several times: beside others, with other channels and batches."""
    every = sides(stride)
    for number in range(4 * len(every)):
        across = (7 * number + number // len(every)) % len(every)
        (in_h, out_h, top), (in_w, out_w, left) = every[number % len(every)], every[across]
        channels = (4, 9, 17)[number % 3]
        rest = (channels, 3, 3, stride, stride, top, left)
        yield Shape(1 + number % 2, in_h, in_w, channels, out_h, out_w, *rest)


def unusual() -> Iterator[Shape]:
    """What looks like the usual window, but for one thing."""
    usual = Shape(2, 6, 7, 17, 6, 7, 17, 3, 3, 1, 1, 1, 1)
    yield replace(usual, kernel_w=2)
    yield replace(usual, kernel_h=2)
    yield replace(usual, stride_h=2, out_h=3)
    yield replace(usual, stride_w=2, out_w=4)
    yield replace(usual, stride_h=2, stride_w=2, out_h=3, out_w=4, kernel_w=2)
    yield replace(usual, stride_h=3, stride_w=3, out_h=2, out_w=3)
    yield replace(usual, pad_top=3)
    yield replace(usual, pad_left=3)
    yield replace(usual, out_h=3)
    yield replace(usual, out_w=3)
    yield replace(usual, stride_h=2, stride_w=2, out_h=2, out_w=2)
    yield replace(usual, kernel_w=7, in_w=2, out_w=2, pad_left=5)  # taps that meet no column
    for stride in (1, 2):  # only the last column reaches into the padding, and a row is shorter than a chunk
        yield replace(
            usual,
            in_h=20,
            out_h=20 // stride,
            in_w=12 * stride + 2,
            out_w=13,
            pad_left=0,
            stride_h=stride,
            stride_w=stride,
        )


@pytest.mark.long
@every_dialect
def test_every_border_of_a_depthwise_window(built, dialect: str, numbers: str) -> None:
    functions, compiled = built(dialect)
    for seed, shape in enumerate([*borders(1), *borders(2), *(8 * [*unusual()])]):
        operands = Operands(functions, numbers, shape, seed)
        for case in operands.cases(depthwise=True):
            (got,) = Runner([compiled], [range(1 + seed % 3)]).call(case)
            judge(case, got, sums_of(dialect)[0], operands.wild, sums_of(dialect)[1])


@pytest.mark.parametrize(("dialect", "numbers"), [("exact", "mixed"), ("fast", "fp32")])
def test_sanitized(tmp_path: Path, dialect: str, numbers: str) -> None:
    """No access beyond any operand and no undefined behaviour, on operands without guard zones.

    Compiled for the architecture's baseline, which takes the paths without F16C, FMA and AVX.
    """
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O0"]
    kept = [flag for flag in DIALECTS[dialect][2] if not flag.startswith(("-O", "-march"))]
    functions = (item for name, item in functions_of(dialect).items() if f"_{numbers}" in name)
    sanitized = library(tmp_path, functions, [*kept, *sanitizers])
    found = [
        subprocess.run(
            ["gcc", f"-print-file-name=lib{name}.so"], capture_output=True, text=True
        ).stdout.strip()
        for name in ("asan", "ubsan")
    ]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SANITIZED, str(sanitized), dialect, numbers],
        env=os.environ
        | {"LD_PRELOAD": " ".join(found), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == "done\n"


SANITIZED = """
import ctypes, sys
from tests.kernels.conv_checks import Operands, check_convolutions
from tests.kernels.kernel_library import Runner
from tests.kernels.test_conv_kernels import functions_of, some_shapes, sums_of
_, library, dialect, numbers = sys.argv
for seed, shape in enumerate(some_shapes()):
    run = Runner([ctypes.CDLL(library)], [range(1 + seed % 3)], guard=0)
    check_convolutions(run.call, Operands(functions_of(dialect), numbers, shape, seed), *sums_of(dialect))
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


def test_faults_are_caught(built) -> None:
    """The checks fail where the chunk, the number of lanes or a border is not what it should be."""
    functions, compiled = built("exact")
    run = Runner([compiled], [[0]])
    cases = list(Operands(functions, "mixed", RESNET, 0).cases(depthwise=False))
    forward = cases[0]
    (got,) = run.call(forward)
    judge(forward, got, (2, 1), False, True)
    with pytest.raises(AssertionError):
        judge(forward, got, (8, 1), False, True)
    context = {**forward.function.context, "chunk": 16}
    with pytest.raises(AssertionError):
        judge(replace(forward, function=replace(forward.function, context=context)), got, (2, 1), False, True)

    def shifted(case: Case) -> Case:
        return replace(case, shape={**case.shape, "pad_left": 2})

    for case in cases[:3]:
        (got,) = run.call(shifted(case))
        with pytest.raises(AssertionError):
            judge(case, got, None, False, False)
