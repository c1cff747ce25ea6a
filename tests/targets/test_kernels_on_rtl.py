"""The convolution kernels' assembly on the cores' RTL: random shapes bit by bit against the host, and known speeds."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from odl.operators import convolution
from odl.targets.cv32e40p.description import Cluster
from tests.kernels.cases import NUMBERS, Case, Numbers, Shape, Tiles, convolutions
from tests.kernels.conv_checks import Operands
from tests.kernels.kernel_library import EXACT, Runner, differing, library
from tests.targets.kernels_on_device import on_cluster

pytestmark = pytest.mark.usefixtures("simulator_tools")

FORWARD, GRADIENT = (
    convolution.VARIANTS[name][0].context for name in ("conv2d_forward", "conv2d_input_gradient")
)
TILES = Tiles(FORWARD["tile_pixels"], FORWARD["tile_channels"], GRADIENT["tile_inputs"])
#: With the chunk of "mixed" as it is used, and so small that every kernel has many.
FUNCTIONS = convolutions(
    {
        "fp16": NUMBERS["fp16"],
        "fp32": NUMBERS["fp32"],
        "mixed": Numbers("f16", "f32", "f16", 64),
        "chunks": NUMBERS["mixed"],
    },
    TILES,
)
VARIANTS = ["fp16", "fp32", "mixed", "chunks"]
#: variant, cores, random shapes
RUNS = [
    ("fp16", 8, 100),
    ("mixed", 8, 80),
    ("chunks", 4, 60),
    ("fp32", 8, 50),
    ("fp16", 3, 20),
    ("chunks", 1, 10),
]


def test_enough_shapes() -> None:
    assert sum(count for *_, count in RUNS) >= 300


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Calls the kernels on the host."""
    built = library(tmp_path_factory.mktemp("host"), FUNCTIONS.values(), EXACT)
    return Runner([ctypes.CDLL(str(built))], [[0]])


# ------------------------------------------------------------------------------------------------------ shapes
def random_shape(random: np.random.Generator) -> Shape:
    """A convolution of modest cost; windows may reach into, or lie wholly in, the padding on every side."""
    while True:
        kernel = random.integers(1, 8, 2)
        stride, pads = random.integers(1, 4, 2), random.integers(0, kernel + 2)
        channels = random.integers(1, 18, 2)
        if random.random() < 0.15:
            channels[random.integers(2)] = random.choice([32, 64])
        size_in, size_out = random.integers(1, [7, 13]), random.integers(1, [6, 10])
        if random.random() < 0.5:  # 'same', as most layers are
            size_out = -(-size_in // stride)
            pads = np.maximum((size_out - 1) * stride + kernel - size_in, 0) // 2
        drawn = (
            1 + int(random.random() < 0.2),
            *size_in,
            channels[0],
            *size_out,
            channels[1],
            *kernel,
            *stride,
            *pads,
        )
        shape = Shape(*map(int, drawn))
        if macs(shape) <= 25_000:
            return shape


def macs(shape: Shape) -> int:
    """As if no window were clipped."""
    pixels = shape.batch * shape.out_h * shape.out_w
    return pixels * shape.out_c * shape.in_c * shape.kernel_h * shape.kernel_w


LONG = Shape(1, 3, 20, 33, 3, 20, 9, 2, 3, 1, 1, 0, 1)
POINTS = Shape(1, 90, 1, 16, 90, 1, 12, 1, 1, 1, 1, 0, 0)


@pytest.mark.parametrize(("variant", "cores", "count"), RUNS)
def test_random_shapes(host: Runner, tmp_path: Path, variant: str, cores: int, count: int) -> None:
    random = np.random.default_rng(cores + 100 * VARIANTS.index(variant))
    shapes = [random_shape(random) for _ in range(count - 2)] + [LONG, POINTS]
    operands = [Operands(FUNCTIONS, variant, shape, seed) for seed, shape in enumerate(shapes)]
    compare(host, tmp_path, [case for item in operands for case in item.cases(depthwise=False)], cores)


def compare(host: Runner, folder: Path, cases: list[Case], cores: int) -> None:
    """The cluster's bits are the host's."""
    got = [outcome.written for outcome in on_cluster(folder, cases, Cluster(cores=cores))]
    wrong = differing(cases, [host.call(case) for case in cases], got)
    assert not wrong, "\n".join(wrong[:10])


# ------------------------------------------------------------------------------------------------------ faults
def test_a_wrong_chunk_is_seen(host: Runner, tmp_path: Path) -> None:
    shape = Shape(1, 5, 10, 16, 5, 10, 16, 3, 3, 1, 1, 1, 1)
    cases = list(Operands(FUNCTIONS, "chunks", shape, 0).cases(depthwise=False))[:3]
    wrong = [
        replace(item, function=replace(item.function, context={**item.function.context, "chunk": 16}))
        for item in cases
    ]
    got = [outcome.written for outcome in on_cluster(tmp_path, wrong)]
    assert len(differing(cases, [host.call(case) for case in cases], got)) == len(cases) == 3


def test_a_store_outside_the_output_is_seen(tmp_path: Path) -> None:
    case = next(iter(Operands(FUNCTIONS, "fp16", POINTS, 0).cases(depthwise=False)))
    shorter = {**case.arguments, "y": case.arguments["y"].ravel()[:-1]}
    with pytest.raises(AssertionError, match="wrote outside its output"):
        on_cluster(tmp_path, [replace(case, arguments=shorter)])


# ------------------------------------------------------------------------------------------------------- speed
@pytest.mark.parametrize(("variant", "forward", "weight_gradient"), [("fp16", 9.3, 9.8), ("mixed", 8.0, 8.8)])
def test_matrix_products(tmp_path: Path, variant: str, forward: float, weight_gradient: float) -> None:
    """256 x 16 x 144 and 16 x 144 x 256 on the default cluster, in multiply-accumulates per cycle."""
    shape = Shape(1, 256, 1, 144, 256, 1, 16, 1, 1, 1, 1, 0, 0)
    operands = Operands(FUNCTIONS, variant, shape, 0)
    x, dy, w = operands.tensor(256, 1, 1, 144), operands.tensor(256, 1, 1, 16), operands.tensor(16, 1, 1, 144)
    y, dw = operands.output(256, 1, 1, 16), operands.output(16, 1, 1, 144, dtype=operands.G)
    bias, limits = operands.tensor(16, dtype=operands.P), {"low": 0.0, "high": np.inf}
    cases = [
        operands.case("conv2d_forward", x=x, w=w, bias=bias, addend=None, y=y, **limits),
        operands.case("conv2d_weight_gradient", x=x, dy=dy, dw=dw),
    ]
    speeds = [macs(shape) / outcome.cycles for outcome in on_cluster(tmp_path, cases)]
    assert speeds[0] >= forward and speeds[1] >= weight_gradient, speeds
