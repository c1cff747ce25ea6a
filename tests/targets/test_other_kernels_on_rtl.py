"""Every kernel besides full convolutions on the cores' RTL, bit by bit against the host, and known speeds."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from odl.targets.cv32e40p.description import Cluster
from tests.kernels.cases import FUNCTIONS as ALL
from tests.kernels.cases import NUMBERS, Case, Numbers, Shape, Tiles, convolutions
from tests.kernels.conv_checks import Operands
from tests.kernels.kernel_checks import Norm, Pool, check_average_pool, check_batch_norm_train, sweep
from tests.kernels.kernel_library import EXACT, INF, Arrays, Runner, differing, draw, empty, library
from tests.targets.kernels_on_device import on_cluster

pytestmark = pytest.mark.usefixtures("simulator_tools")

#: With the chunk of "mixed" as it is used, and so small that a window and a row have several.
DEPTHWISE = convolutions(
    {
        "fp16": NUMBERS["fp16"],
        "fp32": NUMBERS["fp32"],
        "mixed": Numbers("f16", "f32", "f16", 64),
        "chunks": NUMBERS["mixed"],
    },
    Tiles(4, 4, 4),
)


# ----------------------------------------------------------------------------------- elementwise, pooling, norms
@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Calls kernels on the host, and remembers the calls."""
    built = library(tmp_path_factory.mktemp("host"), ALL.values(), EXACT)
    return Runner([ctypes.CDLL(str(built))])


def odd_sizes(host: Runner) -> None:
    """Sizes around every unrolling, fewer elements than cores; operands with NaN, infinities and zeros of both signs."""
    run = partial(host, overflow=None)
    for t in ("f16", "f32"):
        for n in (1, 2, 3, 7, 15, 16, 17, 40, 131):
            x, y, g = draw(n, n, t, 4.0), draw(n + 1, n, t), draw(n + 2, n, t)
            x[::5], y[1::4], y[2::7] = -0.0, 0.0, np.nan
            run(f"relu_{t}", {"count": n}, x=x, y=empty(n, t), low=0.0, high=INF)
            run(f"relu_{t}", {"count": n}, x=y, y=empty(n, t), low=-INF, high=INF)
            run(f"relu_{t}", {"count": n}, x=y, y=empty(n, t), low=0.0, high=6.0)
            run(f"relu_gradient_{t}", {"count": n}, dy=x, y=y, dx=empty(n, t), low=0.0, high=INF)
            run(f"relu_gradient_{t}", {"count": n}, dy=x, y=y, dx=empty(n, t), low=-0.5, high=0.5)
            run(f"silu_{t}", {"count": n}, x=x, y=empty(n, t))
            run(f"silu_gradient_{t}", {"count": n}, dy=y, x=x, dx=empty(n, t))
            run(f"add_{t}", {"count": n}, a=x, b=y, y=empty(n, t), low=0.0, high=INF)
            run(f"add_{t}", {"count": n}, a=None, b=y, y=empty(n, t), low=-INF, high=0.5)
            run(f"fill_{t}", {"count": n}, y=empty(n, t), value=0.1)
            run(f"cast_{t}", {"count": n}, x=x, y=empty(n, "f32" if t == "f16" else "f16"))
            run(f"sgd_{t}_none_False", {"count": n}, w=x, g=g, learning_rate=0.05, gradient_factor=0.125)
            half = draw(n + 3, n, "f16", 8.0)  # the gradient lies where the working copy goes
            run(
                f"sgd_{t}_f16_True",
                {"count": n},
                w=x,
                copy=half,
                g=half,
                momentum_buffer=g,
                learning_rate=0.05,
                gradient_factor=0.125,
                momentum=0.9,
                weight_decay=0.01,
            )
        for channels in (1, 2, 3, 17, 34):
            check_batch_norm_train(host, Norm(t, 19, channels, channels))
            pool = Pool((1, 5, 5, channels), (5, 5), (5, 5), (0, 0), False, True, 0)
            check_average_pool(host, t, pool, channels)


@pytest.mark.parametrize("cores", [8, 3, 1])
def test_other_kernels(host: Runner, tmp_path: Path, cores: int) -> None:
    host.calls.clear()
    sweep(host)
    odd_sizes(host)
    compare([case for case, _ in host.calls], [results for _, results in host.calls], tmp_path, cores)


def compare(cases: list[Case], expected: list[Arrays], folder: Path, cores: int) -> None:
    """The cluster's bits are the expected ones."""
    got = [outcome.written for outcome in on_cluster(folder, cases, Cluster(cores=cores))]
    wrong = differing(cases, expected, got)
    assert not wrong, "\n".join(wrong[:10])


# ------------------------------------------------------------------------------------------------------ depthwise
def shapes(random: np.random.Generator, count: int) -> Iterator[Shape]:
    """The usual windows and others; maps of every height and width, also of a tile within a larger map."""
    for _ in range(count):
        kernel, stride = (3, 3), ((1, 1), (2, 2))[random.integers(2)]
        if random.random() < 0.2:
            kernel, stride = tuple(random.integers(1, 5, 2)), tuple(random.integers(1, 3, 2))
        rows, columns = random.integers(1, 11), random.integers(1, 12)
        above, below, left, right = random.integers(0, 3, 4)
        if random.random() < 0.6:
            above, below, left, right = 1, 1, 1, 1
        out_h = max(1, (rows + above + below - kernel[0]) // stride[0] + 1)
        out_w = max(1, (columns + left + right - kernel[1]) // stride[1] + 1)
        channels = random.choice([1, 2, 3, 8, 17, 36])
        batch = 1 + int(random.random() < 0.2)
        drawn = (batch, rows, columns, channels, out_h, out_w, channels, *kernel, *stride, above, left)
        yield Shape(*map(int, drawn))


@pytest.mark.parametrize(
    ("variant", "cores", "count"), [("fp16", 8, 80), ("mixed", 8, 60), ("chunks", 3, 30), ("fp32", 8, 40)]
)
def test_depthwise(tmp_path: Path, variant: str, cores: int, count: int) -> None:
    (tmp_path / "host").mkdir()
    made = library(tmp_path / "host", (f for name, f in DEPTHWISE.items() if f"_{variant}" in name), EXACT)
    run = Runner([ctypes.CDLL(str(made))], [[0]])
    drawn = enumerate(shapes(np.random.default_rng(count), count))
    operands = [Operands(DEPTHWISE, variant, shape, seed) for seed, shape in drawn]
    calls = [case for item in operands for case in item.cases(depthwise=True)]
    compare(calls, [run.call(case) for case in calls], tmp_path, cores)


# ---------------------------------------------------------------------------------------------------------- speed
#: Multiply-accumulates per cycle, at least, of 3x3 on 25 x 5 x 64 (DS-CNN) with 8 cores.
SPEEDS = {"forward": 6.5, "input_gradient": 6.2, "weight_gradient": 7.2}


def test_depthwise_speed(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    operands = Operands(DEPTHWISE, "fp16", Shape(1, 25, 5, 64, 25, 5, 64, 3, 3, 1, 1, 1, 1), 1)
    x, w = random.normal(0, 1, (1, 25, 5, 64)).astype(np.float16), np.ones((3, 3, 64), np.float16)
    y, dw, limits = np.empty_like(x), np.empty_like(w), {"low": 0.0, "high": np.inf}
    calls = [
        operands.case("depthwise_forward", x=x, w=w, bias=w[0, 0].copy(), addend=None, y=y, **limits),
        operands.case("depthwise_input_gradient", dy=x, w=w, addend=None, mask=x.copy(), dx=y, **limits),
        operands.case("depthwise_weight_gradient", x=x, dy=x.copy(), dw=dw),
    ]
    for (name, least), outcome in zip(SPEEDS.items(), on_cluster(tmp_path, calls), strict=True):
        reached = 25 * 5 * 64 * 9 / outcome.cycles
        assert reached >= least, f"{name}: {reached:.2f} MAC/clk"


#: Cycles per two elements and core, at most, of flat kernels on 4,608 elements with 8 cores.
FLAT_SPEEDS = {
    "sgd_f16_none_False": 18.5,
    "sgd_f32_f16_False": 19.5,
    "sgd_f32_none_False": 15.5,
    "relu_gradient_f16": 9.5,
}


def test_flat_speed(host: Runner, tmp_path: Path) -> None:
    host.calls.clear()
    n = 4608
    half, single = draw(1, n, "f16"), draw(2, n)
    shape = {"count": n}
    host("sgd_f16_none_False", shape, w=half, g=half.copy(), learning_rate=0.05, gradient_factor=0.125)
    host("sgd_f32_f16_False", shape, w=single, copy=half, g=half, learning_rate=0.05, gradient_factor=0.125)
    host("sgd_f32_none_False", shape, w=single, g=single.copy(), learning_rate=0.05, gradient_factor=0.125)
    host("relu_gradient_f16", shape, dy=half, y=half.copy(), dx=empty(n, "f16"), low=0.0, high=INF)
    outcomes = on_cluster(tmp_path, [case for case, _ in host.calls])
    for (name, most), outcome in zip(FLAT_SPEEDS.items(), outcomes, strict=True):
        reached = 8 * 2 * outcome.cycles / n
        assert reached <= most, f"{name}: {reached:.1f} cycles per two elements"
