"""GVSoC's pulp-open: how it is found, its two files, and, where it is installed, programs and whole networks on it."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import odl
from odl.bench import Measurement, measure
from odl.cli.app import main
from odl.errors import CheckFailedError, InputError, MissingToolError
from odl.models import resolve
from odl.run.device import DeviceNet
from odl.run.load import load_net
from odl.targets.common.elf import Elf, Symbol
from odl.targets.common.exchange import read_answer, request
from odl.targets.common.session import Mark, Watch
from odl.targets.common.toolchain import find_toolchain
from odl.targets.cv32e40p.description import Cluster
from odl.targets.gvsoc.launch import HOME, check_tools, find_gvsoc, run
from odl.targets.pulp.cluster import MemoryLayout
from tests.targets.pulp_programs import build

KNOWS = 'test "$1" = --target=pulp-open && test "$2" = commands && echo run'


# --------------------------------------------------------------------------------------------------- finding it
@pytest.fixture
def launchers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """`launchers(folder, script)` puts a program called gvsoc into a folder; PATH and GVSOC_HOME lead nowhere at first."""
    monkeypatch.delenv(HOME, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))

    def add(folder: str, script: str) -> Path:
        file = tmp_path / folder / "gvsoc"
        file.parent.mkdir(parents=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(stat.S_IRWXU)
        return file

    return add


def test_gvsoc_is_found_on_path_and_by_its_home(
    launchers: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = launchers("path", KNOWS)
    assert find_gvsoc() == on_path
    assert check_tools()[0].found == f"{on_path}, by PATH"
    for home, folder in (("installed", "installed/bin"), ("sources", "sources/install/bin")):
        at_home = launchers(folder, KNOWS)
        monkeypatch.setenv(HOME, str(tmp_path / home))
        assert find_gvsoc() == at_home
        assert check_tools()[0].found == f"{at_home}, by GVSOC_HOME"
    monkeypatch.setenv(HOME, "")
    assert find_gvsoc() == on_path


def test_a_missing_gvsoc_is_named_with_the_remedy(launchers: Callable[[str, str], Path]) -> None:
    with pytest.raises(
        MissingToolError,
        match=r"^gvsoc is missing, one with target pulp-open is needed; set GVSOC_HOME .* or put gvsoc on PATH$",
    ):
        find_gvsoc()
    finding = check_tools()[0]
    assert (finding.found, finding.ok, finding.purpose) == (None, False, "target gvsoc")


def test_a_home_without_gvsoc_is_not_passed_over(
    launchers: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launchers("path", KNOWS)
    (tmp_path / "home" / "bin" / "gvsoc").mkdir(parents=True)  # a folder is no program
    monkeypatch.setenv(HOME, str(tmp_path / "home"))
    with pytest.raises(MissingToolError, match=r"GVSOC_HOME is .*home, which has no bin/gvsoc"):
        find_gvsoc()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Input error: Invalid target specified: pulp-open' >&2; exit 1", "Invalid target specified"),
        ("exit 3", "exit code 3"),
    ],
)
def test_a_gvsoc_without_the_target_says_why(
    launchers: Callable[[str, str], Path], script: str, reason: str
) -> None:
    launchers("path", script)
    with pytest.raises(MissingToolError, match=rf"by PATH, which cannot load pulp-open \(.*{reason}.*\)"):
        find_gvsoc()
    assert not check_tools()[0].ok


def test_a_gvsoc_that_is_no_program(launchers: Callable[[str, str], Path]) -> None:
    launchers("path", "").write_bytes(b"\x7fELF")
    with pytest.raises(MissingToolError, match="cannot load pulp-open"):
        find_gvsoc()


def test_the_command_line_says_what_is_missing(
    launchers: Callable[[str, str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = small("fp16").save(tmp_path / "net")
    for command in ("run", "verify", "bench"):
        with pytest.raises(SystemExit) as exit_code:
            main([command, str(project)])
        assert exit_code.value.code == MissingToolError.exit_code == 3
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "gvsoc is missing, one with target pulp-open is needed; set GVSOC_HOME" in error
    with pytest.raises(SystemExit):
        main(["doctor"])
    assert "target gvsoc: lacks gvsoc with target pulp-open" in capsys.readouterr().out
    home = launchers("home/bin", KNOWS).parents[1]
    monkeypatch.setenv(HOME, str(home))
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit):
        main(["doctor"])
    assert f"{home}/bin/gvsoc, by GVSOC_HOME" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------- the two files
ELF = Elf(Path("a.elf"), 0, {"a": Symbol("a", 0x1C000100, 6, False), "b": Symbol("b", 0x1C000200, 4, False)})


def test_the_request_names_variables_and_watches() -> None:
    asked = request(ELF, {"a": b"12345"}, ["b"], [Watch(7, 0x1C000100, 2)])
    numbers = struct.unpack("<3I", asked[:12]), struct.unpack("<7I", asked[17:])
    assert numbers[0] == (1, 0x1C000100, 5) and asked[12:17] == b"12345"
    assert numbers[1] == (1, 0x1C000200, 4, 1, 7, 0x1C000100, 2)


def test_an_answer_is_taken_apart_and_must_be_complete() -> None:
    watch = Watch(7, 0x1C000100, 2)
    answer = struct.pack("<IQ", 7, 50) + b"xy" + struct.pack("<IQIQ", 8, 60 << 32, 0xFFFFFFFD, 70) + b"wxyz"
    found = read_answer(answer, ELF, ["b"], [watch])
    assert found.marks == (Mark(7, 50), Mark(8, 60 << 32))
    assert found.watched == {watch: (b"xy",)} and found.dumps == {"b": b"wxyz"}
    for length in range(len(answer)):
        with pytest.raises(CheckFailedError, match="ended without its results"):
            read_answer(answer[:length], ELF, ["b"], [watch])


def test_requests_that_cannot_be_served() -> None:
    with pytest.raises(InputError, match="no variable nobody"):
        request(ELF, {}, ["nobody"], [])
    with pytest.raises(InputError, match="b has room for 4 bytes, not for the 5 given"):
        request(ELF, {"b": b"12345"}, [], [])
    with pytest.raises(InputError, match="17 variables and 0 watches; the program's runtime has room for 16"):
        request(ELF, {}, ["a"] * 17, [])


def test_the_cluster_has_eight_cores() -> None:
    with pytest.raises(InputError, match="cores=9: must be between 1 and 8"):
        small("fp16", cores=9)


def test_the_project_is_for_gvsoc_and_builds_without_it(toolchain: None, tmp_path: Path) -> None:
    from odl.run.library import build_program

    project = small("mixed").save(tmp_path / "net")
    assert "ODL_ISA_XPULP" in (project / "Makefile").read_text()
    symbols = Elf.read(build_program(project, publish=False)).symbols
    for name in ("odl_receive", "odl_host", "odl_start_cluster", "net_arena"):
        assert name in symbols
    assert symbols["__l1_end"].address <= 0x10000000 + 64 * 1024
    with pytest.raises(InputError, match="compiled for 'gvsoc'; compile it with target=\"cv32e40p\""):
        DeviceNet(project, Cluster())
    with pytest.raises(InputError, match="vlen=256 goes with projects compiled for target qemu"):
        load_net(project, vlen=256)


# ------------------------------------------------------------------------------------------------ programs on it
PROGRAM = """
#include "odl_runtime.h"

#define ROUNDS 50u

uint32_t mode, wrong[8], seen[8];
uint8_t bytes[7], far[300000];
ODL_L1 static uint32_t turn[8];
ODL_L1 static uint8_t near[4096];

/* Each round every core writes its own counter and, behind the barrier, looks at all others. */
static void count_together(uint32_t core, uint32_t cores) {
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        turn[core] = round;
        odl_barrier();
        for (uint32_t other = 0; other < cores; other++) {
            if (turn[other] != round) {
                wrong[core]++;
            }
        }
        odl_barrier();
    }
    seen[core] = odl_core_id() + 1;
}

/* Copies `far` by DMA, in pieces and from places of any alignment, one byte further up; across the banks of L2. */
static void move_up(void) {
    for (uint32_t end = sizeof far - 1; end > 0;) {
        const uint32_t part = end < 4001 ? end : 4001;
        end -= part;
        odl_dma_wait(odl_dma_to_l1(near + 1, far + end, part));
        odl_dma_wait(odl_dma_to_l2(far + end + 1, near + 1, part));
    }
}

int main(void) {
    switch (mode) {
    case 1:
        return 5;
    case 2:
        __asm__ volatile("unimp");
        return 0;
    case 3:
        for (;;) {
        }
    case 4:
        move_up();
        break;
    case 5:
        *(volatile uint32_t *)0x60000000 = 1;
        return 0;
    default:
        break;
    }
    odl_mark(7);
    odl_parallel(count_together);
    bytes[6]++;
    odl_mark(7);
    for (uint32_t id = 1000; id < 1200; id++) { /* more than the runtime keeps */
        odl_mark(id);
    }
    odl_put_string("hello from core ");
    odl_put_unsigned(odl_core_id());
    odl_put_string("\\n");
    return (int)(odl_core_count() != ODL_CORES);
}
"""


@pytest.fixture(scope="module")
def installed() -> None:
    """GVSoC and the compiler."""
    try:
        find_gvsoc()
        find_toolchain()
    except MissingToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def program(installed: None, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The program for 1, 3 and 8 cores."""
    folder = tmp_path_factory.mktemp("gvsoc")
    source = folder / "program.c"
    source.write_text(PROGRAM)
    options = ("-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror")
    return {
        cores: build(
            [source],
            folder / f"{cores}.elf",
            MemoryLayout(cores=cores, l1_bytes=64 * 1024),
            target="gvsoc",
            options=options,
        )
        for cores in (1, 3, 8)
    }


@pytest.mark.parametrize("cores", [1, 3, 8])
def test_cores_start_and_meet_at_the_barrier(program: dict[int, Path], cores: int) -> None:
    result = run(program[cores], dump=["seen", "wrong"]).check()
    assert result.dumps["wrong"] == bytes(32)
    seen = np.frombuffer(result.dumps["seen"], np.uint32)
    assert seen.tolist() == [*range(1, cores + 1), *[0] * (8 - cores)]
    assert "hello from core 0\n" in result.output


def test_variables_go_in_and_come_out_and_marks_show_memory(program: dict[int, Path]) -> None:
    watch = Watch(7, Elf.read(program[8]).symbol("bytes").address + 4, 3)
    result = run(program[8], load={"bytes": b"abcdefg"}, dump=["bytes"], watch=[watch]).check()
    assert result.dumps["bytes"] == b"abcdefh"
    assert result.watched[watch] == (b"efg", b"efh")
    assert [mark.id for mark in result.marks] == [7, 7, *range(1000, 1200)]
    cycles = [mark.count for mark in result.marks]
    assert cycles == sorted(cycles)
    # 100 barriers of some 24 cycles each, and what is done between them; the same in every run
    again = run(program[8]).check()
    assert 2_400 < again.marks[1].count - again.marks[0].count < 20_000
    assert again.marks == run(program[8]).check().marks


def test_transfers_of_any_alignment(program: dict[int, Path]) -> None:
    content = np.random.default_rng(0).integers(256, size=300_000).astype(np.uint8).tobytes()
    result = run(program[8], load={"mode": struct.pack("<I", 4), "far": content}, dump=["far"]).check()
    assert result.dumps["far"] == content[:1] + content[:-1]


def test_a_program_at_fault_is_one_clear_error(program: dict[int, Path]) -> None:
    def load(mode: int) -> dict[str, bytes]:
        return {"mode": struct.pack("<I", mode)}

    with pytest.raises(CheckFailedError, match=r"ended with status 5$"):
        run(program[8], load=load(1)).check()
    with pytest.raises(CheckFailedError, match="status 126: odl: trap: exception, core 0, pc 0x1c0"):
        run(program[8], load=load(2)).check()
    with pytest.raises(CheckFailedError, match=r"status 1: .*Invalid access \(pc: 0x1c0.*0x60000000"):
        run(program[8], load=load(5)).check()
    with pytest.raises(CheckFailedError, match="took too long"):
        run(program[8], load=load(3), seconds=5).check()


# ------------------------------------------------------------------------------------------------ networks on it
class Odd(nn.Module):
    """Channels that are no multiple of any register tile, and the kinds of layer that the two networks lack."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 11, 3, padding=1)
        self.norm = nn.BatchNorm2d(11)
        self.depthwise = nn.Conv2d(11, 11, 3, stride=2, padding=1, groups=11)
        self.second = nn.Conv2d(11, 9, 1)
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Linear(9 * 2 * 2, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = nn.functional.relu6(self.second(self.depthwise(x)))
        return self.last(self.pool(x).flatten(1))


def small(dtype: str, **options: Any) -> odl.Build:
    torch.manual_seed(0)
    return odl.compile(Odd(), torch.zeros(1, 3, 8, 8), target="gvsoc", dtype=dtype, prefix="net", **options)


@cache
def zoo(model: str, dtype: str) -> odl.Build:
    made = resolve(model)
    return odl.compile(made.module, made.example(1), loss=made.loss, target="gvsoc", dtype=dtype)


def assert_verified(built: odl.Build, steps: int = 1) -> None:
    report = built.verify(steps=steps, accumulated=2)
    assert report.ok, [row for row in report.rows if not row.ok]
    compared = [row for row in report.rows if row.bit_exact is not None]
    assert all(row.bit_exact for row in compared)
    assert {"loss", "gradient", "weight", "inference"} <= {row.kind for row in compared}


@pytest.mark.parametrize("cores", [1, 3, 8])
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "mixed"])
def test_a_small_network_has_the_hosts_bits(installed: None, dtype: str, cores: int) -> None:
    assert_verified(small(dtype, cores=cores))


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "mixed", "bn": "train", "optimizer": odl.SGD(0.01, momentum=0.9)},
        {"dtype": "fp16", "bn": "frozen", "optimizer": odl.Adam(0.01)},
        {"dtype": "mixed", "accumulate": True, "cores": 5},
        {"dtype": "fp16", "update": "last:1"},
        {"dtype": "mixed", "l1": 4096},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_bits_and_bounds_for_every_option(installed: None, options: dict[str, Any]) -> None:
    assert_verified(small(**options))


@pytest.mark.parametrize("dtype", ["fp16", "mixed"])
@pytest.mark.parametrize("model", ["resnet8", "dscnn"])
def test_two_steps_of_the_zoo_have_the_hosts_bits(installed: None, model: str, dtype: str) -> None:
    assert_verified(zoo(model, dtype), steps=2)


def test_a_step_that_overflows_is_skipped_there_too(installed: None) -> None:
    net = small("mixed", loss_scale=65536.0).load()
    before = net.state_dict()
    net.train_step(np.full((1, 3, 8, 8), 3e4), 1)
    assert net.skipped_steps == 1 and net.loss_scale == 32768.0
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize(
    ("dtype", "name", "right", "wrong"),
    [
        ("fp16", "packed_asm.h", "ODL_ASM_PACKED(2, 0x48, sum", "ODL_ASM_PACKED(2, 0x49, sum"),
        ("mixed", "xpulp.h", '0x68, " t ", " b ", " a', '0x68, " t ", " a ", " b'),
    ],
    ids=["multiply and subtract", "sums that change places"],
)
def test_a_wrong_dialect_is_found(
    installed: None, tmp_path: Path, dtype: str, name: str, right: str, wrong: str
) -> None:
    """One instruction of the kernels is another: the bits differ from the host's."""
    built = small(dtype)
    header = built.save(tmp_path / "net") / "isa" / name
    text = header.read_text()
    assert right in text
    header.write_text(text.replace(right, wrong))
    report = built.verify(steps=1)
    assert not report.ok
    assert [row for row in report.rows if row.bit_exact is False]


@cache
def counted(model: str, dtype: str) -> Measurement:
    built = zoo(model, dtype)
    built.load()
    assert built.directory is not None
    return measure(built.directory)


def test_resnet8_is_as_fast_as_promised(installed: None) -> None:
    result = counted("resnet8", "fp16")
    assert 4.5 <= result.rate <= 8.0  # four FPUs with two lanes


def test_cycles_by_operator_add_up(installed: None) -> None:
    result = counted("resnet8", "fp16")
    report = result.as_json()
    assert report["cycles"] == sum(item["cycles"] for item in report["operators"]) == result.count
    assert report["macs"] == sum(item["macs"] for item in report["operators"])
    assert all(item["cycles"] > 0 for item in report["operators"])
    assert all(item.macs <= 8 * item.count for item in result.operators)


def test_bench_prints_cycles_and_rejects_what_it_cannot_change(
    installed: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = str(small("fp16").save(tmp_path / "net"))
    with pytest.raises(SystemExit) as exit_code:
        main(["bench", project])
    said = capsys.readouterr().out
    assert exit_code.value.code == 0 and "MAC/clk, everything counted" in said and "GVSoC" in said
    with pytest.raises(SystemExit) as exit_code:
        main(["bench", project, "--fpus", "4"])
    assert exit_code.value.code == InputError.exit_code
    assert "GVSoC's machine is as it is" in capsys.readouterr().err
