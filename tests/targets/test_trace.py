"""The trace of a window of cycles, read back and compared with what is known by other means."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from odl.errors import InputError
from odl.targets.common.elf import Elf
from odl.targets.common.session import Trace
from odl.targets.cv32e40p.description import Cluster
from odl.targets.cv32e40p.run_program import run

pytestmark = pytest.mark.usefixtures("simulator_tools")

MARK_REGISTER = 0x1A10E000


def read_vcd(file: Path) -> dict[int, dict[str, int | str]]:
    """Cycle → "core0.signal" → value, of every cycle in the file."""
    names: dict[str, str] = {}
    now: dict[str, int | str] = {}
    cycles: dict[int, dict[str, int | str]] = {}
    scope = ""

    def changes(line: str) -> Iterator[tuple[str, int | str]]:
        if line[0] == "b":
            bits, key = line[1:].split()
            yield names[key], int(bits, 2)
        elif line[0] == "s":
            text, key = line[1:].split()
            yield names[key], text
        elif line[0] in "01":
            yield names[line[1:]], int(line[0])

    for line in file.read_text().splitlines():
        if line.startswith("$scope"):
            scope = line.split()[2]
        elif line.startswith("$var"):
            names[line.split()[3]] = f"{scope}.{line.split()[4]}"
        elif line.startswith("#"):
            now = dict(now)
            cycles[int(line[1:])] = now
        elif not line.startswith("$"):
            now.update(changes(line))
    return cycles


def test_the_pc_at_a_known_cycle(program, tmp_path):
    elf = program("runtime.c")
    symbols = Elf.read(elf)
    plain = run(elf, max_cycles=50_000).check()
    first, second = plain.marks
    trace = Trace(tmp_path / "trace.vcd", first.count - 10, second.count + 10, core=0)
    result = run(elf, max_cycles=50_000, trace=trace).check()
    assert (result.cycles, result.marks, result.cores) == (plain.cycles, plain.marks, plain.cores)
    cycles = read_vcd(trace.file)
    # One beyond the window, which gives the last cycle its length
    assert list(cycles) == list(range(trace.first_cycle, trace.last_cycle + 2))
    assert {name.split(".")[0] for name in cycles[first.count]} == {"core0"}
    for mark in result.marks:
        at = cycles[mark.count]
        assert symbols.locate(at["core0.pc_execute"]).startswith("odl_mark+")
        assert at["core0.data_req"] == at["core0.data_gnt"] == at["core0.data_we"] == 1
        assert (at["core0.data_addr"], at["core0.data_wdata"]) == (MARK_REGISTER, mark.id)
        assert (
            at["core0.instruction"] & 0x7F == 0x23 or at["core0.instruction"] & 0xE003 == 0xC000
        )  # sw, c.sw
        assert not symbols.locate(cycles[mark.count + 8]["core0.pc_execute"]).startswith("odl_mark+")
    pcs = [cycles[cycle]["core0.pc_execute"] for cycle in range(first.count + 8, second.count - 8)]
    assert {symbols.locate(pc).split("+")[0] for pc in pcs} == {"program"}


def test_every_cycle_is_shown_as_it_is_counted(program, tmp_path):
    trace = Trace(tmp_path / "trace.vcd")
    result = run(program("runtime.c", cores=2), Cluster(cores=2), max_cycles=50_000, trace=trace).check()
    cycles = list(read_vcd(trace.file).values())[: result.cycles]
    assert len(cycles) == result.cycles
    for i, core in enumerate(result.cores):
        shown = [cycle[f"core{i}.counted_as"] for cycle in cycles]
        assert {name: shown.count(name) for name in core.counters} == core.counters


def test_a_trace_ends_with_the_fault(program, tmp_path):
    trace = Trace(tmp_path / "trace.vcd", core=2)
    result = run(program("faults.c", FAULT=1), max_cycles=20_000, trace=trace)
    assert result.fault is not None
    cycles = read_vcd(trace.file)
    last = cycles[max(cycles)]
    assert max(cycles) == result.cycles
    assert last["core2.data_req"] == 1
    assert (last["core2.data_addr"], last["core2.pc_execute"]) == (result.fault.address, result.fault.pc)


def test_impossible_traces_are_input_errors(program, tmp_path):
    elf = program("runtime.c")
    for wrong, message in (
        (Trace(tmp_path / "t", 5, 4), "cycles 5 to 4"),
        (Trace(tmp_path / "t", core=8), "cores 0 to 7"),
        (Trace(tmp_path / "no" / "folder"), "cannot write"),
    ):
        with pytest.raises(InputError, match=message):
            run(elf, max_cycles=50_000, trace=wrong)
