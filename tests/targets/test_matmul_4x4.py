"""A 4 × 4 register tile in packed fp16: a known figure, and results that are exact."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from odl.targets.cv32e40p.description import Cluster
from odl.targets.cv32e40p.run_program import run

pytestmark = pytest.mark.usefixtures("simulator_tools")

ROWS, COLUMNS, DEPTH = 256, 16, 144


@pytest.mark.parametrize(
    ("cluster", "mac_per_clk"),
    [
        (Cluster(fpu_latency=0, icache=None), 9.85),
        (Cluster(), 9.5),
        (Cluster(fpus=4), 7.0),
        (Cluster(cores=1), 1.2),
    ],
    ids=["latency 0, ideal fetch", "default", "shared FPUs", "one core"],
)
def test_matmul_4x4(program, cluster, mac_per_clk):
    random = np.random.default_rng(1)
    # Eighths up to a half: all sums are exact in fp16
    a = (random.integers(-4, 5, (ROWS, DEPTH)) / 8).astype(np.float16)
    b = (random.integers(-4, 5, (COLUMNS, DEPTH)) / 8).astype(np.float16)
    interleaved = np.ascontiguousarray(b.reshape(4, 4, DEPTH // 2, 2).transpose(0, 2, 1, 3))
    result = run(
        program("matmul.c", "matmul_4x4.S", cores=cluster.cores),
        cluster,
        load={"a": a.tobytes(), "b": interleaved.tobytes()},
        dump=["c", "cycles"],
        max_cycles=2_000_000,
    ).check()
    c = np.frombuffer(result.dumps["c"], np.float16).reshape(ROWS, COLUMNS)
    np.testing.assert_array_equal(c.astype(np.float64), a.astype(np.float64) @ b.T.astype(np.float64))
    (cycles,) = struct.unpack("<I", result.dumps["cycles"])
    assert ROWS * COLUMNS * DEPTH / cycles >= mac_per_clk
