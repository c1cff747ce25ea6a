"""What every rule of the cluster costs, against answers found by counting (docs/cluster.md)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from odl.targets.cv32e40p.description import Cluster, InstructionCache
from odl.targets.cv32e40p.run_program import ClusterResult, run

pytestmark = pytest.mark.usefixtures("simulator_tools")

DMA_BYTES = 8192
DMA_CYCLES = DMA_BYTES // 8
# What programming a transfer, its start, the latency of L2 and waking up may cost together
DMA_OVERHEAD = 80

# In the order of the enumeration in programs/timing.c
NAMES = (
    *("one_bank", "own_banks", "from_l2", "barrier", "macs", "macs_all"),
    *("dma_in", "dma_out", "dma_both", "dma_competing", "dma_2d", "dma_train"),
    *("divide", "fits", "shared", "large"),
)


def measure(program: Callable[..., Path], cluster: Cluster) -> tuple[dict[str, int], ClusterResult]:
    elf = program("timing.c", "loops.S", cores=cluster.cores)
    result = run(elf, cluster, dump=["results", "dma_errors"], max_cycles=2_000_000).check()
    assert result.dumps["dma_errors"] == bytes(4)
    values = struct.unpack(f"<{len(NAMES)}I", result.dumps["results"])
    return dict(zip(NAMES, values, strict=True)), result


@pytest.fixture(scope="module")
def ideal(program: Callable[..., Path]) -> tuple[dict[str, int], ClusterResult]:
    """8 cores, FPU latency 1, ideal instruction cache: what is not fetched can be counted exactly."""
    return measure(program, Cluster(icache=None))


@pytest.fixture(scope="module")
def default(program: Callable[..., Path]) -> dict[str, int]:
    return measure(program, Cluster())[0]


def test_cores_on_one_bank_take_turns(ideal):
    # 64 accesses by each of 8 cores, one per cycle; the cores do not start in the same cycle
    assert ideal[0]["one_bank"] == pytest.approx(64 * 8, abs=8)


def test_cores_on_banks_of_their_own_do_not_wait(ideal):
    assert ideal[0]["own_banks"] == pytest.approx(64, abs=1)


@pytest.mark.parametrize("cores", [2, 4])
def test_fewer_cores_on_one_bank(program, cores):
    cycles, _ = measure(program, Cluster(cores=cores, icache=None))
    assert cycles["one_bank"] == pytest.approx(64 * cores, abs=cores)
    assert cycles["own_banks"] == pytest.approx(64, abs=1)


def test_l2_takes_15_cycles(ideal):
    assert ideal[0]["from_l2"] == pytest.approx(64 * 15, abs=15)


def test_l2_latency_is_a_parameter(program):
    cycles, _ = measure(program, Cluster(cores=1, l2_latency=30, icache=None))
    assert cycles["from_l2"] == pytest.approx(64 * 30, abs=30)


def test_barrier(ideal):
    # Call, event load, wake-up and return
    assert 10 <= ideal[0]["barrier"] / 16 <= 24


@pytest.mark.parametrize("latency", [0, 1])
def test_six_loads_and_eight_macs_take_14_cycles(program, ideal, latency):
    cycles = ideal[0] if latency == 1 else measure(program, Cluster(fpu_latency=0, icache=None))[0]
    assert cycles["macs"] / 256 == pytest.approx(14, abs=0.02)
    assert cycles["macs_all"] / 256 == pytest.approx(14, abs=0.05)


@pytest.mark.parametrize("latency", [0, 1])
def test_four_fpus_for_eight_cores_make_it_16(program, latency):
    cycles, _ = measure(program, Cluster(fpus=4, fpu_latency=latency, icache=None))
    assert cycles["macs"] / 256 == pytest.approx(14, abs=0.02)
    assert cycles["macs_all"] / 256 == pytest.approx(16, abs=0.1)


def test_dma_moves_8_bytes_per_cycle(ideal):
    cycles = ideal[0]
    for direction in ("dma_in", "dma_out"):
        assert DMA_CYCLES <= cycles[direction] <= DMA_CYCLES + DMA_OVERHEAD
    # Both directions at once
    assert DMA_CYCLES <= cycles["dma_both"] <= DMA_CYCLES + 2 * DMA_OVERHEAD
    assert DMA_CYCLES / 2 <= cycles["dma_2d"] <= DMA_CYCLES / 2 + DMA_OVERHEAD


def test_dma_transfers_follow_each_other_without_a_gap(ideal):
    # Eight transfers: the latency of L2 shows once, not eight times
    assert ideal[0]["dma_train"] <= DMA_CYCLES + DMA_OVERHEAD + 8


def test_dma_competes_with_cores(ideal):
    # Seven cores load in every cycle, from 16 banks: the engine loses some, but never twice in a row
    assert 1.05 * ideal[0]["dma_in"] < ideal[0]["dma_competing"] < 2 * ideal[0]["dma_in"]


def test_division_is_not_pipelined(ideal):
    # 64 iterations of a division and two other instructions
    assert 14 <= ideal[0]["divide"] / 64 <= 22


def test_instruction_cache(ideal, default):
    instructions = {"fits": 32 * 66, "shared": 8 * 258, "large": 2050}
    for name, count in instructions.items():
        assert count <= ideal[0][name] <= 1.05 * count
    assert default["fits"] <= ideal[0]["fits"] + 40
    # A loop larger than a core's cache: the next line is fetched ahead, so little is lost to the shared level
    assert ideal[0]["shared"] < default["shared"] <= 1.1 * ideal[0]["shared"]
    # Larger than the shared cache too: every line of four instructions comes from L2
    line_from_l2 = 15 + 1 + InstructionCache().shared_latency
    assert default["large"] == pytest.approx(2050 / 4 * line_from_l2, rel=0.03)


def test_counters_add_up(ideal):
    result = ideal[1]
    assert all(sum(core.counters.values()) == result.cycles for core in result.cores)
    assert result.total("tcdm_conflict") > 8 * 7 * 64
    assert all(core.counters["barrier"] > result.cycles / 2 for core in result.cores[1:])
    assert result.cores[0].counters["dma_wait"] > DMA_CYCLES
    assert result.total("icache_miss") == 0
    # Taken branches are told from what is not explained, of which there is nothing here
    assert result.total("branch") > 0
    assert result.total("other") == 0
