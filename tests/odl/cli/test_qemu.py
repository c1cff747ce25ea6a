"""Target qemu and `--runtime none` on the command line."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest

from odl.errors import MissingToolError
from odl.targets.common.toolchain import find_toolchain
from odl.targets.qemu.emulation import find_qemu

MODEL = f"{Path(__file__).parents[2] / 'networks.py'}:factory"


@pytest.fixture
def qemu():
    try:
        find_qemu()
        find_toolchain()
    except MissingToolError as error:
        pytest.skip(str(error))


def compiled(cli, directory, *options):
    result = cli("compile", MODEL, "-o", directory, *options)
    assert result.code == 0, result.err
    return directory


def test_a_project_runs_is_verified_and_counted(cli, tmp_path, qemu):
    net = compiled(cli, tmp_path / "net", "--target", "qemu", "--cores", "2")
    options = json.loads((net / "manifest.json").read_text())["options"]
    assert (options["target"], options["isa"], options["runtime"]) == ("qemu", "zvfh", "own")
    run = cli("run", net, "--vlen", "256")
    assert run.code == 0 and "loss" in run.out
    assert "cycles, " not in run.out and "odl bench" in run.out
    verify = cli("verify", net, "--steps", "1", "--json", tmp_path / "rows.json")
    assert verify.code == 0, verify.out
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert all(row["bit_exact"] for row in rows if row["kind"] == "gradient")
    bench = cli("bench", net, "--json", "-")
    assert bench.code == 0, bench.err
    (entry,) = json.loads(bench.out)
    assert entry["instructions"] > entry["macs"] / 8 and "cycles" not in entry
    assert {"target", "dtype", "cores", "config", "operators"} <= entry.keys()


def test_bench_compiles_a_model_for_an_instruction_set(cli, qemu):
    result = cli("bench", MODEL, "--target", "qemu", "--isa", "zfh", "--cores", "1", "--summary")
    assert result.code == 0, result.err
    assert "scalar fp16 (Zfh)" in result.out and "instructions for" in result.out
    assert "Instructions are not cycles" in " ".join(result.out.split())


def test_verify_prints_one_table_for_some_targets(cli, tmp_path, qemu):
    result = cli("verify", MODEL, "--target", "qemu", "--dtype", "fp16")
    assert result.code == 0, result.err
    assert "qemu, zvfh 256: " in result.out and "compared with the host" in result.out
    assert max(map(len, result.out.splitlines())) <= 120
    net = compiled(cli, tmp_path / "net", "--dtype", "fp32")
    result = cli("verify", net, "--target", "qemu", "--json", "-")
    assert result.code == 0, result.err
    rows = json.loads(result.out)
    assert {row["target"] for row in rows} >= {"host, 2 lanes", "qemu, zfh", "qemu, zvfh 128"}
    assert all(row["ok"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compile", MODEL, "-o", "x", "--isa", "zfh"), "--isa zfh: target host has one instruction set"),
        (
            ("compile", MODEL, "-o", "x", "--target", "qemu", "--isa", "sse"),
            "--isa sse: must be one of zvfh, zfh",
        ),
        (("compile", MODEL, "-o", "x", "--runtime", "x"), "--runtime x: must be one of own, none"),
        (("compile", MODEL, "-o", "x", "--target", "qemu", "--l1", "4K"), "target qemu has one memory"),
        (("verify", MODEL, "--target", "mars"), "--target mars: must be all, or some of"),
        (("verify", MODEL, "--target", "qemu", "--build", "exact"), "--target decides where to run"),
        (("verify", MODEL, "--dtype", "fp16"), "--dtype fp16 goes with --target"),
        (("bench", MODEL, "--vlen", "256"), "--vlen 256 goes with target qemu"),
    ],
)
def test_options_that_do_not_fit_are_one_clear_line(cli, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in cli(*arguments).error(2)


def test_vlen_goes_with_vectors_only(cli, tmp_path):
    net = compiled(cli, tmp_path / "net", "--target", "qemu", "--isa", "zfh")
    assert "--vlen 256 goes with" in cli("run", net, "--vlen", "256").error(2)
    host = compiled(cli, tmp_path / "host")
    assert "--vlen 256 goes with" in cli("run", host, "--vlen", "256").error(2)


def test_a_missing_or_old_qemu_is_exit_code_3(cli, tmp_path, monkeypatch):
    net = compiled(cli, tmp_path / "net", "--target", "qemu")
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    remedy = ">= 7.2 is needed; install it with: apt-get install qemu-system-misc"
    for command in ("run", "verify", "bench"):
        line = cli(command, net).error(3)
        assert "qemu-system-riscv32 is missing" in line and remedy in line
    (tools / "qemu-system-riscv32").write_text("#!/bin/sh\necho QEMU emulator version 6.1.0\n")
    (tools / "qemu-system-riscv32").chmod(stat.S_IRWXU)
    line = cli("run", net).error(3)
    assert "qemu-system-riscv32 is too old (6.1.0)" in line and remedy in line
    doctor = cli("doctor")
    assert "qemu-system-riscv32 >= 7.2 (found 6.1.0)" in doctor.out


def test_an_old_clang_is_named_with_its_version(cli, tmp_path, monkeypatch, qemu):
    net = compiled(cli, tmp_path / "net", "--target", "qemu")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("gcc", "make", "sh", "as", "ld", "echo", "mkdir", "qemu-system-riscv32"):
        (tools / name).symlink_to(shutil.which(name))
    (tools / "clang").write_text("#!/bin/sh\necho clang version 14.0.6\n")
    (tools / "clang").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tools))
    find_toolchain.cache_clear()
    try:
        line = cli("run", net).error(3)
    finally:
        find_toolchain.cache_clear()
    assert "clang is too old (14), >= 18 is needed; install it with: apt-get install clang-22 lld-22" in line


def test_an_export_is_verified_on_this_machine(cli, tmp_path):
    net = compiled(cli, tmp_path / "net", "--runtime", "none", "--target", "cv32e40p")
    assert cli("verify", net, "--steps", "1").code == 0
    assert "loss" in cli("run", net, "--steps", "2").out
    assert "it runs where your port runs" in cli("bench", net).error(2)
