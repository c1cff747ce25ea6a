"""Programs that go wrong are stopped, with what, where and who."""

from __future__ import annotations

import pytest

from odl.errors import CheckFailedError
from odl.targets.cv32e40p.description import Cluster
from odl.targets.cv32e40p.run_program import run

pytestmark = pytest.mark.usefixtures("simulator_tools")

FAULTS = {
    1: ("unmapped", 2, "at_fault", 0x50000000),
    2: ("unmapped", 2, "at_fault", 0x10100000),
    3: ("illegal_instruction", 2, "at_fault", None),
    4: ("stack_overflow", 2, "at_fault", ...),
    5: ("deadlock", 0, "odl_barrier", None),
    6: ("cycle_limit", 2, "at_fault", None),
    7: ("unmapped", 2, "at_fault", 0x10000000 + 128 * 1024),
    8: ("unmapped", 2, "?", 0x60000000),
    9: ("unmapped", 2, "?", 0x1001FFF0),
    10: ("breakpoint", 2, "at_fault", None),
    11: ("illegal_instruction", 2, "?", None),
    12: ("stack_overflow", 2, "at_fault", ...),
}


@pytest.mark.parametrize("number", FAULTS)
def test_fault(program, number):
    kind, core, function, address = FAULTS[number]
    result = run(program("faults.c", FAULT=number), Cluster(), max_cycles=20_000)
    assert result.exit_status is None
    fault = result.fault
    assert fault is not None
    assert (fault.kind, fault.core) == (kind, core)
    if address is not ...:
        assert fault.address == address
    if function != "?":
        assert fault.symbol.split("+")[0] == function
    with pytest.raises(CheckFailedError) as caught:
        result.check()
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert f"core {core}" in str(caught.value)


def test_stack_overflow_is_seen_before_another_core_s_stack_is_written(program):
    for number in (4, 12):
        elf = program("faults.c", FAULT=number)
        result = run(elf, Cluster(), max_cycles=20_000)
        assert result.fault is not None
        assert result.fault.address is not None
        bottom = 0x10000000 + 2 * 1024
        assert bottom - 1024 < result.fault.address < bottom + 16
        guard = (bottom - 0x10000000) // 4
        assert not result.touched["l1"][guard : guard + 4].any()


def test_trap_handler_reports_where_the_simulator_does_not_stop(program):
    result = run(program("faults.c", FAULT=3), Cluster(), max_cycles=20_000, deliver_traps=True)
    assert result.fault is None
    assert result.exit_status == 0x7E
    assert result.output.startswith("odl: trap: illegal instruction, core 2, pc 0x1c00")
