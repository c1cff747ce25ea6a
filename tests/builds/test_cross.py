"""The same sources build for other machines, without a C library and without a warning; what they still need is known."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from odl.codegen.isa_headers import dialects
from tests.builds.compilers import RELEASES
from tests.networks import tiny_build, written

CLANG = next((name for name in ("clang-22", "clang", *reversed(RELEASES)) if shutil.which(name)), "clang")
MACHINES = {
    "riscv32": "--target=riscv32-unknown-elf -march=rv32imafc -mabi=ilp32f",
    "riscv64": "--target=riscv64-unknown-elf -march=rv64imafdc -mabi=lp64d -mcmodel=medany",
    "aarch64": "--target=aarch64-none-elf",
    "cortex-m4": "--target=arm-none-eabi -mcpu=cortex-m4 -mfloat-abi=hard",
    "cortex-m7": "--target=arm-none-eabi -mcpu=cortex-m7 -mfloat-abi=hard",
    "cortex-m55": "--target=arm-none-eabi -mcpu=cortex-m55 -mfloat-abi=hard",
}
#: What a user brings: the runtime, and the compiler's own library, which does doubles where no instruction does.
BROUGHT = re.compile(r"odl_parallel|odl_barrier|__aeabi_\w+|__(add|sub|mul|extend|trunc)\w+f[23]")
#: Mixed precision has kernels of both types.
DTYPES = [pytest.param("fp32", marks=pytest.mark.long), pytest.param("fp16", marks=pytest.mark.long), "mixed"]


@cache
def project(folder: Path, dtype: str) -> Path:
    return written(tiny_build(dtype=dtype, bn="train", runtime="none", prefix="kws"), folder / dtype)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cross")


@pytest.mark.skipif(shutil.which(CLANG) is None, reason="no clang")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("machine", MACHINES)
def test_a_network_builds_without_a_c_library(machine, dtype, folder):
    directory = project(folder, dtype)
    shutil.rmtree(directory / "build", ignore_errors=True)
    command = [
        "make",
        "-j2",
        "libkws.a",
        f"CC={CLANG}",
        "FREESTANDING=1",
        f"CFLAGS={MACHINES[machine]} -Wshadow",
    ]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr[-2000:]
    listing = subprocess.run(
        ["nm", "libkws.a"], cwd=directory, capture_output=True, text=True, check=True
    ).stdout
    defined = set(re.findall(r"^[0-9a-f]+ [A-Z] (\w+)$", listing, re.MULTILINE))
    needed = set(re.findall(r"^ +U (\w+)$", listing, re.MULTILINE)) - defined
    assert needed >= {"odl_parallel", "odl_barrier"}
    assert sorted(name for name in needed if not BROUGHT.fullmatch(name)) == []


def test_a_project_has_the_headers_that_it_needs(folder):
    """Those of the host's dialects, and of the target's."""

    def headers(name: str, **options: object) -> set[str]:
        directory = written(tiny_build(dtype="fp32", **options), folder / name)
        return {path.name for path in (directory / "isa").iterdir()}

    host = headers("host")
    assert {"odl_isa.h", "host_exact.h", "host_fast.h"} <= host
    assert not host & {"xcv.h", "xpulp.h", "zfh.h", "rvv.h", "packed_asm.h"}
    assert headers("cluster", target="cv32e40p") == host | {"xcv.h", "packed_asm.h"}
    text = (project(folder, "fp32") / "isa/odl_isa.h").read_text()
    anywhere = {path.name for path in (project(folder, "fp32") / "isa").iterdir()}
    assert set(dialects(text).values()) <= anywhere and len(dialects(text)) == 5
