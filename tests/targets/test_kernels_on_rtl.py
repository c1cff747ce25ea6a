"""The convolution kernels' assembly on the cores' RTL: random shapes bit by bit against the host, and known speeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from odl.operators.convolution import FORWARD_TILE
from odl.operators.convolution_gradients import INPUT_GRADIENT_TILE
from odl.targets.cv32e40p.description import Cluster
from tests.kernels import conv_library
from tests.kernels.conv_library import (
    DTYPES,
    EXACT,
    NUMBERS,
    ChannelShape,
    Library,
    Numbers,
    Shape,
    Tiles,
    conv_shape,
)
from tests.targets.kernels_on_cluster import Case, ClusterKernels

pytestmark = pytest.mark.usefixtures("simulator_tools")

TILES = Tiles(FORWARD_TILE["tile_pixels"], FORWARD_TILE["tile_channels"], INPUT_GRADIENT_TILE["tile_inputs"])
KERNELS = ("conv2d_forward", "conv2d_input_gradient", "conv2d_weight_gradient", "channel_sum")
#: Variants, with the chunk of "mixed" as it is used, and so small that every kernel has many.
VARIANTS = {
    "fp16": NUMBERS["fp16"],
    "fp32": NUMBERS["fp32"],
    "mixed": Numbers("f16", "f32", "f16", 64),
    "chunks": NUMBERS["mixed"],
}
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
def kernels(tmp_path_factory):
    """variant -> (the host's library, the cluster's kernels), each compiled when first asked for."""
    built: dict[str, tuple[Library, ClusterKernels]] = {}

    def pair(variant: str) -> tuple[Library, ClusterKernels]:
        if variant not in built:
            numbers = {variant: VARIANTS[variant]}
            host = conv_library.build(tmp_path_factory.mktemp("host"), TILES, EXACT, numbers)
            device = ClusterKernels(tmp_path_factory.mktemp("device"), TILES, numbers, KERNELS)
            built[variant] = (Library(host), device)
        return built[variant]

    return pair


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


# ------------------------------------------------------------------------------------------------------- cases
class Operands:
    """Random tensors of one shape, in every fourth one with infinities, NaNs, overflow and subnormal numbers."""

    def __init__(self, variant: str, shape: Shape, seed: int) -> None:
        self.variant, self.shape = variant, shape
        self.T, self.P, self.G = (DTYPES[getattr(VARIANTS[variant], t)] for t in "TPG")
        self.random = np.random.default_rng(seed)
        self.wild = seed % 4 == 3

    def tensor(self, *size: int, dtype=None, scale: float = 1.0) -> np.ndarray:
        values = self.random.normal(0, scale, size)
        if self.wild:
            special = [np.inf, -np.inf, np.nan, 0.0, -0.0, 6e-8, -6e-8, 6e-5, 60000.0, -300.0]
            values = np.where(self.random.random(size) < 0.03, self.random.choice(special, size), values)
        with np.errstate(all="ignore"):
            return values.astype(dtype or self.T)

    def maybe(self, *size: int, dtype=None) -> np.ndarray | None:
        return self.tensor(*size, dtype=dtype) if self.random.random() < 0.6 else None

    def limits(self) -> list[float]:
        return [[-np.inf, np.inf], [0.0, np.inf], [0.0, 1.5]][self.random.integers(3)]

    def output(self, *size: int, dtype=None) -> np.ndarray:
        return np.full(size, np.nan, dtype or self.T)

    def cases(self) -> Iterator[Case]:
        """One call of every kernel."""
        s, struct = self.shape, conv_shape(self.shape)
        x_size, y_size = (s.batch, s.in_h, s.in_w, s.in_c), (s.batch, s.out_h, s.out_w, s.out_c)
        w_size = (s.out_c, s.kernel_h, s.kernel_w, s.in_c)
        x, dy, w = self.tensor(*x_size), self.tensor(*y_size), self.tensor(*w_size, scale=0.5)
        inputs, y = self.with_addend(
            [x, w, self.maybe(s.out_c, dtype=self.P), self.maybe(*y_size)], y_size, 3
        )
        yield Case(f"conv2d_forward_{self.variant}", struct, inputs, y, self.limits())
        inputs, dx = self.with_addend([dy, w, self.maybe(*x_size), self.maybe(*x_size)], x_size, 2)
        yield Case(f"conv2d_input_gradient_{self.variant}", struct, inputs, dx, self.limits())
        suffix = "_accumulate" if self.variant != "fp32" and self.random.random() < 0.5 else ""
        dw = self.tensor(*w_size, dtype=self.G)
        yield Case(f"conv2d_weight_gradient_{self.variant}{suffix}", struct, [x, dy], dw)
        pixels = ChannelShape(s.batch * s.out_h * s.out_w, s.out_c)
        yield Case(f"channel_sum_{self.variant}{suffix}", pixels, [dy], self.tensor(s.out_c, dtype=self.G))

    def with_addend(self, inputs: list, size: tuple[int, ...], at: int) -> tuple[list, np.ndarray]:
        """Inputs and output; sometimes the output is the addend."""
        if inputs[at] is None or self.random.random() < 0.5:
            return inputs, self.output(*size)
        return [*inputs[:at], "output", *inputs[at + 1 :]], inputs[at]


def different(library: Library, case: Case, got: np.ndarray) -> int:
    """How many elements are not the host's; all NaNs of fp32 are alike, as hosts have no canonical one."""
    output = case.output.copy()
    want = library.call(case.name, case.shape, list(case.inputs), output, list(case.limits), 1)
    bits = np.uint16 if want.dtype == np.float16 else np.uint32
    same = (got.view(bits) == want.view(bits)) | ((want.dtype == np.float32) & np.isnan(got) & np.isnan(want))
    return int(np.count_nonzero(~same))


@pytest.mark.parametrize(("variant", "cores", "count"), RUNS)
def test_random_shapes(kernels, variant: str, cores: int, count: int) -> None:
    library, device = kernels(variant)
    random = np.random.default_rng(cores + 100 * list(VARIANTS).index(variant))
    shapes = [random_shape(random) for _ in range(count - 2)] + [LONG, POINTS]
    cases = [case for seed, shape in enumerate(shapes) for case in Operands(variant, shape, seed).cases()]
    outcomes = device.run(cases, Cluster(cores=cores))
    wrong = [
        f"{case.name} {[word for _, word in shape_words(case)]}: {count} of {case.output.size}"
        for case, outcome in zip(cases, outcomes, strict=True)
        if (count := different(library, case, outcome.output))
    ]
    assert not wrong, "\n".join(wrong[:10])


def shape_words(case: Case) -> list[tuple[str, int]]:
    return [(field[0], getattr(case.shape, field[0])) for field in case.shape._fields_]


# ------------------------------------------------------------------------------------------------------ faults
def test_a_wrong_chunk_is_seen(kernels, tmp_path: Path) -> None:
    library, _ = kernels("chunks")
    numbers = {"chunks": replace(VARIANTS["chunks"], chunk=16)}
    device = ClusterKernels(tmp_path, TILES, numbers, KERNELS[:3])
    shape = Shape(1, 5, 10, 16, 5, 10, 16, 3, 3, 1, 1, 1, 1)
    cases = [case for case in Operands("chunks", shape, 0).cases() if "channel_sum" not in case.name]
    for case, outcome in zip(cases, device.run(cases), strict=True):
        assert different(library, case, outcome.output) > 0, case.name


def test_a_store_outside_the_output_is_seen(kernels) -> None:
    _, device = kernels("fp16")
    case = next(iter(Operands("fp16", POINTS, 0).cases()))
    with pytest.raises(AssertionError, match="wrote outside its output"):
        device.run([replace(case, output=case.output.ravel()[:-1])])


# ------------------------------------------------------------------------------------------------------- speed
@pytest.mark.parametrize(("variant", "forward", "weight_gradient"), [("fp16", 9.3, 9.8), ("mixed", 8.0, 8.8)])
def test_matrix_products(kernels, variant: str, forward: float, weight_gradient: float) -> None:
    """256 x 16 x 144 and 16 x 144 x 256 on the default cluster, in multiply-accumulates per cycle."""
    _, device = kernels(variant)
    shape = Shape(1, 256, 1, 144, 256, 1, 16, 1, 1, 1, 1, 0, 0)
    operands = Operands(variant, shape, 0)
    x, dy, w = operands.tensor(256, 1, 1, 144), operands.tensor(256, 1, 1, 16), operands.tensor(16, 1, 1, 144)
    struct = conv_shape(shape)
    y, dw = operands.output(256, 1, 1, 16), operands.output(16, 1, 1, 144, dtype=operands.G)
    bias = operands.tensor(16, dtype=operands.P)
    cases = [
        Case(f"conv2d_forward_{variant}", struct, [x, w, bias, None], y, [0.0, np.inf]),
        Case(f"conv2d_weight_gradient_{variant}", struct, [x, dy], dw),
    ]
    speeds = [macs(shape) / outcome.cycles for outcome in device.run(cases)]
    assert speeds[0] >= forward and speeds[1] >= weight_gradient, speeds
