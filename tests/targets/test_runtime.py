"""Data in and out without recompiling, output, marks, exit status, touched memory."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from odl.errors import CheckFailedError, InputError
from odl.targets.common.elf import Elf
from odl.targets.cv32e40p.description import Cluster
from odl.targets.cv32e40p.run_program import run

pytestmark = pytest.mark.usefixtures("simulator_tools")


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


BOTH = pytest.mark.parametrize("controller", [False, True], ids=["core 0 orchestrates", "controller"])


@BOTH
@pytest.mark.parametrize("cores", [1, 2, 8, 16])
def test_data_goes_in_and_out(program, cores, controller):
    load = {"input": words(*range(8)), "status": words(0)}
    elf = program("runtime.c", cores=cores, controller=controller)
    cluster = Cluster(cores=cores, controller=controller)
    result = run(elf, cluster, load=load, dump=["output"], max_cycles=50_000).check()
    base = sum(range(1, cores + 1)) + 33
    assert result.dumps["output"] == words(*(3 * i + base for i in range(8)))
    assert sorted(result.output.splitlines()) == sorted(f"core {i} of 0x{cores:08x}" for i in range(cores))
    assert len(result.cores) == cores + controller


@BOTH
@pytest.mark.parametrize("cores", [1, 8])
def test_cores_join_after_each_parallel_program(program, cores, controller):
    elf = program("fork_join.c", cores=cores, controller=controller)
    cluster = Cluster(cores=cores, controller=controller)
    result = run(elf, cluster, dump=["sums"], max_cycles=50_000).check()
    assert result.dumps["sums"] == words(cores + 100, cores * 5 + 100, cores * 8 + 200)


def test_a_controller_sleeps_while_the_workers_work(program):
    elf = program("timing.c", "loops.S", controller=True)
    result = run(elf, Cluster(controller=True), max_cycles=2_000_000).check()
    assert result.cores[8].counters["barrier"] > 0.9 * result.cycles
    assert result.cores[0].counters["instructions"] > 100 * result.cores[8].counters["instructions"]


def test_exit_status_is_that_of_main(program):
    result = run(program("runtime.c"), load={"status": words(5)}, max_cycles=50_000)
    assert result.exit_status == 5
    with pytest.raises(CheckFailedError, match="status 5"):
        result.check()


def test_marks_carry_the_counters_of_every_core(program):
    result = run(program("runtime.c"), max_cycles=50_000)
    first, second = result.marks
    assert (first.id, second.id) == (7, 8)
    assert 0 < first.count < second.count < result.cycles
    for mark in result.marks:
        assert len(mark.counters) == 8
        assert {sum(counters.values()) for counters in mark.counters} <= {mark.count, mark.count + 1}


def test_runs_are_the_same_on_any_number_of_threads(program):
    # Long enough that helpers are tried: the first two windows of lockstep.cpp are 8,192 busy cycles
    elf = program("matmul.c", "matmul_4x4.S")
    first, second, third = (run(elf, max_cycles=2_000_000, threads=n) for n in (1, 2, 3))
    assert min(core.counters["instructions"] for core in second.cores) > 20_000
    assert first.cycles == second.cycles == third.cycles
    assert first.cores == second.cores == third.cores
    assert first.marks == second.marks == third.marks


def test_touched_words(program):
    elf = program("runtime.c")
    result = run(elf, max_cycles=50_000)
    symbols = Elf.read(elf)

    def touched(name: str) -> np.ndarray:
        symbol = symbols.symbol(name)
        memory, base = ("l1", 0x10000000) if symbol.address < 0x1C000000 else ("l2", 0x1C000000)
        begin = (symbol.address - base) // 4
        return result.touched[memory][begin : begin + symbol.size // 4]

    assert touched("output").all()
    assert touched("input").all()
    assert touched("shared")[:8].all()
    assert not touched("shared")[8:].any()


def test_unknown_variables_and_wrong_sizes_are_input_errors(program):
    elf = program("runtime.c")
    with pytest.raises(InputError, match="nothing_of_this_name"):
        run(elf, load={"nothing_of_this_name": b""})
    with pytest.raises(InputError, match="room for 32 bytes"):
        run(elf, load={"input": bytes(33)})
    with pytest.raises(InputError, match="built for 8 cores"):
        run(elf, Cluster(cores=4))
    with pytest.raises(InputError, match="cannot run on 8 cores and a controller"):
        run(elf, Cluster(controller=True))
