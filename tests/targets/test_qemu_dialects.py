"""The vector and the scalar dialect of standard RISC-V give the host's bits, operation by operation."""

from __future__ import annotations

import ctypes
import math
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from odl.errors import MissingToolError
from odl.targets.common.toolchain import find_toolchain
from odl.targets.qemu.emulation import find_qemu, run
from odl.targets.qemu.machine import Machine
from tests.targets.qemu_programs import OPTIONS, ROOT, build

PROGRAM = ROOT / "tests" / "targets" / "programs" / "dialect.c"
GROUPS, WIDTH = 600, 8
RESULT = np.dtype([("h", "<u2", 9 * WIDTH), ("f", "<u4", 12 * WIDTH), ("flags", "<u4")])
LIMITS = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0), "none": (-math.inf, math.inf), "hard": (-0.3, 0.7)}


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    try:
        find_qemu()
        find_toolchain()
    except MissingToolError as error:
        pytest.skip(str(error))


@cache
def numbers() -> tuple[np.ndarray, np.ndarray]:
    """Halves and floats of every kind: of all exponents, near 1, exact ties, zeros; in the last groups infinity and NaN."""
    random = np.random.default_rng(7)
    shape = (GROUPS, 3, WIDTH)
    halves = random.integers(0, 1 << 16, shape).astype(np.uint16)
    usual = random.standard_normal(shape).astype(np.float16)
    halves[: GROUPS // 2] = usual[: GROUPS // 2].view(np.uint16)
    special = np.isfinite(halves.view(np.float16))
    finite_groups = np.arange(GROUPS) < GROUPS - 100
    halves[finite_groups & ~special.all(axis=(1, 2))] &= 0xBFFF
    halves[(halves & 0x7FFF) > 0x7C00] = 0x7E00  # the one NaN that arithmetic makes
    halves[random.random(shape) < 0.05] = 0x8000
    floats = halves.view(np.float16).astype(np.float32) * np.float32(1 + 2.0**-12)
    floats[GROUPS // 3 : GROUPS // 2] *= np.float32(2.0**100)
    floats[np.isnan(floats)] = np.float32(np.nan)
    return halves, floats


def on_host(folder: Path, lanes: int, limits: tuple[float, float]) -> np.ndarray:
    """Results of the host's exact dialect."""
    library = folder / f"dialect-{lanes}.so"
    if not library.exists():
        flags = [*OPTIONS.replace("-O3", "-O2 -ftrapping-math -march=native -fPIC -shared").split()]
        flags += [f"-DODL_LANES_F16={lanes}", f"-DODL_LANES_F32={lanes // 2}", f"-DGROUPS={GROUPS}"]
        flags += [f"-I{ROOT / 'kernels' / 'isa'}", f"-I{ROOT / 'targets' / 'host' / 'runtime'}"]
        subprocess.run(["gcc", *flags, str(PROGRAM), "-o", str(library), "-lm"], check=True)
    loaded = ctypes.CDLL(str(library))
    for name, array in zip(("halves", "floats"), numbers(), strict=True):
        ctypes.memmove(ctypes.addressof(ctypes.c_uint8.in_dll(loaded, name)), array.ctypes.data, array.nbytes)
    ctypes.c_float.in_dll(loaded, "limits_low").value = limits[0]
    ctypes.c_float.in_dll(loaded, "limits_high").value = limits[1]
    loaded.run_dialect()
    address = ctypes.addressof(ctypes.c_uint8.in_dll(loaded, "results"))
    return np.frombuffer(ctypes.string_at(address, GROUPS * RESULT.itemsize), RESULT)


#: Instruction sets, and the portable dialect on a core without any fp16 instruction.
BUILDS = {"zfh": None, "zvfh": None, "portable": "rv32imafdc"}


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize(
    ("isa", "vlen"), [("zfh", 128), ("zvfh", 128), ("zvfh", 256), ("zvfh", 1024), ("portable", 128)]
)
def test_every_operation_has_the_hosts_bits_and_flags(
    isa: str, vlen: int, limits: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    elf = folder / f"dialect-{isa}.elf"
    machine = "zfh" if BUILDS[isa] else isa
    if not elf.exists():
        build([PROGRAM], elf, machine, defines={"GROUPS": GROUPS}, portable=BUILDS[isa])
    halves, floats = numbers()
    low, high = (np.float32(limit).tobytes() for limit in LIMITS[limits])
    load = {
        "halves": halves.tobytes(),
        "floats": floats.tobytes(),
        "limits_low": low,
        "limits_high": high,
    }
    got = np.frombuffer(
        run(elf, Machine(machine, vlen=vlen), load=load, dump=["results"]).check().dumps["results"], RESULT
    )
    wanted = on_host(folder, 8 if isa == "zvfh" else 2, LIMITS[limits])
    for field in ("h", "f"):
        wrong = np.argwhere(got[field] != wanted[field])
        assert not len(wrong), (field, wrong[:5], len(wrong))
    # Comparing a NaN may raise a flag or not; what made the NaN has raised it.
    numeric = ~np.isnan(floats).any(axis=(1, 2))
    assert (got["flags"] == wanted["flags"])[numeric].all()
    assert 0 < wanted["flags"].sum() < GROUPS
    assert len(np.unique(wanted["h"])) > 10_000
