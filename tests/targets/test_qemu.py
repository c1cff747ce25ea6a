"""The emulated machine: start, barrier, files in and out, faults, releases of QEMU."""

from __future__ import annotations

import stat
import struct
from pathlib import Path

import numpy as np
import pytest

from odl.errors import CheckFailedError, InputError, MissingToolError
from odl.targets.common.session import Watch
from odl.targets.common.toolchain import find_toolchain
from odl.targets.qemu.emulation import check_tools, find_qemu, run
from odl.targets.qemu.machine import Machine
from tests.targets.qemu_programs import build

PROGRAM = """
#include "odl_runtime.h"

#define ROUNDS 50u

uint32_t mode, turn[16], seen[16], wrong;
uint8_t bytes[7];

/* Each round every hart adds to its own counter and, behind the barrier, looks at all others. */
static void count_together(uint32_t core, uint32_t cores) {
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        turn[core] = round;
        odl_barrier();
        for (uint32_t other = 0; other < cores; other++) {
            if (turn[other] != round) {
                wrong++;
            }
        }
        odl_barrier();
    }
    seen[core] = odl_core_id() + 1;
}

int main(void) {
    switch (mode) {
    case 1:
        return 5;
    case 2:
        *(volatile uint32_t *)8 = 1;
        return 0;
    case 3:
        for (;;) {
        }
    default:
        break;
    }
    odl_mark(7);
    odl_parallel(count_together);
    bytes[6]++;
    odl_mark(7);
    odl_mark(8);
    return (int)(odl_core_count() != ODL_CORES);
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The program for 1 and 8 harts."""
    try:
        find_qemu()
        find_toolchain()
    except MissingToolError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("qemu")
    (folder / "program.c").write_text(PROGRAM)
    return {harts: build([folder / "program.c"], folder / f"{harts}.elf", "zfh", harts) for harts in (1, 8)}


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("harts", [1, 8])
def test_harts_meet_at_the_barrier(program: dict[int, Path], harts: int, counted: bool) -> None:
    machine = Machine("zfh", harts, counted=counted)
    result = run(program[harts], machine, dump=["turn", "seen", "wrong"]).check()
    assert result.dumps["wrong"] == bytes(4)
    seen = np.frombuffer(result.dumps["seen"], np.uint32)
    assert seen.tolist() == [*range(1, harts + 1), *[0] * (16 - harts)]


def test_variables_go_in_and_come_out_and_marks_show_memory(program: dict[int, Path]) -> None:
    from odl.targets.common.elf import Elf

    watch = Watch(7, Elf.read(program[1]).symbol("bytes").address + 4, 3)
    result = run(
        program[1], Machine("zfh", counted=True), load={"bytes": b"abcdefg"}, dump=["bytes"], watch=[watch]
    ).check()
    assert result.dumps["bytes"] == b"abcdefh"
    assert result.watched[watch] == (b"efg", b"efh")
    assert [mark.id for mark in result.marks] == [7, 7, 8]
    counts = [mark.count for mark in result.marks]
    assert counts == sorted(counts)
    # 50 rounds of a few dozen instructions; the same in every run
    again = run(program[1], Machine("zfh", counted=True), watch=[watch]).check()
    assert 1_000 < counts[1] - counts[0] < 10_000
    assert again.marks[1].count - again.marks[0].count == counts[1] - counts[0]


def test_a_program_at_fault_is_one_clear_error(program: dict[int, Path]) -> None:
    def load(mode: int) -> dict[str, bytes]:
        return {"mode": struct.pack("<I", mode)}

    with pytest.raises(CheckFailedError, match=r"ended with status 5$"):
        run(program[1], Machine("zfh"), load=load(1)).check()
    with pytest.raises(
        CheckFailedError, match=r"status 126: odl: trap: store fault, hart 0x0+, .* value 0x0+8$"
    ):
        run(program[1], Machine("zfh"), load=load(2)).check()
    with pytest.raises(CheckFailedError, match="took too long"):
        run(program[1], Machine("zfh"), load=load(3), seconds=3).check()


def test_variables_must_exist_and_fit(program: dict[int, Path]) -> None:
    with pytest.raises(InputError, match="no variable nobody"):
        run(program[1], Machine("zfh"), dump=["nobody"])
    with pytest.raises(InputError, match="bytes has room for 7 bytes, not for the 8 given"):
        run(program[1], Machine("zfh"), load={"bytes": b"12345678"})


def test_names_of_extensions_depend_on_the_release() -> None:
    assert "rv32,Zfh=true,v=true,vext_spec=v1.0,vlen=256" in Machine(vlen=256).arguments((7, 2))
    assert "rv32,zfh=true,v=true,zvfh=true,vlen=128" in Machine().arguments((9, 1))
    assert "rv32,Zfh=true" in Machine("zfh").arguments((7, 2))
    assert "rv32,Zfh=true,zbb=true" in Machine("zfh_zbb").arguments((7, 2))
    assert "rv32,zfh=true,zbb=true" in Machine("zfh_zbb").arguments((9, 1))
    assert Machine(harts=8).arguments((7, 2))[4:6] == ["-smp", "8"]
    assert "-icount" not in Machine().arguments((7, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"isa": "mmx"}, 'isa="mmx": must be one of zvfh, zfh'),
        ({"harts": 17}, "17 harts; use 1 to 16"),
        ({"vlen": 64}, "vlen=64: must be 128"),
    ],
)
def test_machines_that_do_not_exist(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Machine(**arguments)  # type: ignore[arg-type]


def test_a_missing_and_an_old_qemu_are_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        MissingToolError, match=r"is missing, >= 7.2 is needed; install it with: apt-get install qemu"
    ):
        find_qemu()
    program = tmp_path / "qemu-system-riscv32"
    program.write_text("#!/bin/sh\necho QEMU emulator version 6.1.0\n")
    program.chmod(stat.S_IRWXU)
    with pytest.raises(MissingToolError, match=r"is too old \(6.1.0\), >= 7.2 is needed"):
        find_qemu()
    findings = {item.tool: item for item in check_tools()}
    assert findings["qemu-system-riscv32"].found == "6.1.0" and not findings["qemu-system-riscv32"].ok
    program.write_text("#!/bin/sh\necho QEMU emulator version 9.1.2\n")
    assert find_qemu() == (9, 1, 2)
