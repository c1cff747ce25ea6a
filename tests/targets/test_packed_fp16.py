"""Packed fp16 instructions on the core's RTL against their C meaning on the host, bit by bit, flags included."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from odl.targets.cv32e40p import Cluster, run

pytestmark = pytest.mark.usefixtures("simulator_tools")

HERE = Path(__file__).parent
TRIPLES = 4096
# In the order of programs/instruction_list.h
PACKED = ("vfadd.h", "vfsub.h", "vfmul.h", "vfmac.h", "vfmac.r.h")
FROM_FLOATS = ("vfcpka.h.s", "fcvt.s.h", "fcvt.h.s")
INSTRUCTIONS = PACKED + FROM_FLOATS

# fmt: off
SPECIAL_HALVES = np.array([
    0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x8400,  # zeros, subnormals, smallest normals
    0x3C00, 0xBC00, 0x3C01, 0x3BFF, 0x7BFF, 0xFBFF, 0x7800, 0x0200,  # ones and neighbours, largest
    0x7C00, 0xFC00, 0x7E00, 0xFE00, 0x7D00, 0xFD55, 0x7FFF, 0x7C01,  # infinities, quiet and signalling NaNs
], dtype=np.uint32)
# fmt: on


def special_floats() -> np.ndarray:
    """Floats where rounding to half is decided: ties, overflow, subnormals, and what is no number."""
    halves = np.arange(0, 0x7C00, 97, dtype=np.uint16).view(np.float16).astype(np.float32)
    step = (halves.view(np.uint32) & 0x7F800000).view(np.float32) * np.float32(2.0**-11)
    ties = halves + step
    near = np.concatenate([ties, np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(np.inf))])
    edge = np.array(
        [65504, 65519.996, 65520, 65536, 1e30, 2**-24, 2**-25, 2**-26, 6e-8, 1e-45, 0], np.float32
    )
    bits = np.concatenate([near, edge]).view(np.uint32)
    odd = np.array([0x7F800000, 0x7FC00000, 0x7F800001, 0x7FFFFFFF, 0x00000001, 0x007FFFFF], np.uint32)
    both = np.concatenate([bits, odd])
    return np.concatenate([both, both | 0x80000000]).astype(np.uint32)


def operands() -> np.ndarray:
    """TRIPLES × {packed halves, floats} × 3."""
    random = np.random.default_rng(16)

    def halves(shape: tuple[int, ...]) -> np.ndarray:
        any_bits = random.integers(0, 1 << 16, shape)
        special = random.choice(SPECIAL_HALVES, shape)
        # Exponents near each other, so that sums cancel and round
        close = (random.integers(13, 18, shape) << 10) | random.integers(0, 1024, shape) | (any_bits & 0x8000)
        return np.choose(random.integers(0, 3, shape), [any_bits, special, close]).astype(np.uint32)

    packed = halves((TRIPLES, 3)) | halves((TRIPLES, 3)) << 16
    # Every pair of special values, in both lanes
    pairs = np.array([(x, y) for x in SPECIAL_HALVES for y in SPECIAL_HALVES], dtype=np.uint32)
    packed[: len(pairs), 0] = pairs[:, 0] | pairs[::-1, 0] << 16
    packed[: len(pairs), 1] = pairs[:, 1] | pairs[::-1, 1] << 16
    floats = random.integers(0, 1 << 32, (TRIPLES, 3), dtype=np.uint32)
    exponents = random.integers(127 - 28, 127 + 18, (TRIPLES, 3)).astype(np.uint32)
    in_range = (floats & np.uint32(0x807FFFFF)) | exponents << 23
    floats = np.where(random.random((TRIPLES, 3)) < 0.8, in_range, floats)
    special = special_floats()
    floats[: len(special), 0] = special
    floats[: len(special), 1] = special[::-1]
    # fcvt.s.h takes the low half of the first word: all kinds of halves there too
    floats[-1024:, 0] = packed[:1024, 0]
    return np.stack([packed, floats], axis=1)


@pytest.fixture(scope="module")
def on_rtl(program) -> np.ndarray:
    elf = program("instructions.c", TRIPLES=TRIPLES)
    load = {"operands": operands().tobytes()}
    result = run(elf, Cluster(icache=None), load=load, dump=["results"], max_cycles=20_000_000).check()
    return np.frombuffer(result.dumps["results"], np.uint32).reshape(TRIPLES, len(INSTRUCTIONS), 2)


def on_host(folder: Path, options: list[str]) -> np.ndarray:
    executable = folder / "instructions"
    include = [f"-I{HERE.parents[1] / 'kernels'}", f"-I{HERE / 'programs'}", f"-DTRIPLES={TRIPLES}"]
    common = ["-std=c11", "-O1", "-frounding-math", "-ffp-contract=off"]
    source = HERE / "programs" / "instructions.c"
    subprocess.run(
        ["gcc", *common, *options, *include, str(source), "-o", str(executable), "-lm"], check=True
    )
    done = subprocess.run([str(executable)], input=operands().tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint32).reshape(TRIPLES, len(INSTRUCTIONS), 2)


def has_f16c() -> bool:
    cpu = Path("/proc/cpuinfo")
    return cpu.is_file() and " f16c" in cpu.read_text()


@pytest.fixture(scope="module", params=["portable", "f16c"])
def meaning(request, tmp_path_factory) -> np.ndarray:
    if request.param == "f16c" and not has_f16c():
        pytest.skip("this processor has no F16C")
    options = ["-mf16c", "-mfma"] if request.param == "f16c" else []
    return on_host(tmp_path_factory.mktemp(request.param), options)


def is_nan(bits: np.ndarray) -> np.ndarray:
    return (bits & 0x7FFFFFFF) > 0x7F800000


@pytest.mark.parametrize("instruction", INSTRUCTIONS)
def test_result_and_flags(on_rtl, meaning, instruction):
    index = INSTRUCTIONS.index(instruction)
    inputs = operands()[:, int(index >= len(PACKED))]
    differs = (on_rtl[:, index] != meaning[:, index]).any(axis=1)
    if instruction == "fcvt.s.h":  # odl_half_to_float keeps a NaN's payload, the core gives the canonical NaN
        both_nan = is_nan(on_rtl[:, index, 0]) & is_nan(meaning[:, index, 0])
        differs &= ~both_nan | (on_rtl[:, index, 1] != meaning[:, index, 1])
    different = np.flatnonzero(differs)
    examples = [
        f"{[hex(x) for x in inputs[i]]}: RTL {on_rtl[i, index, 0]:#x} flags {on_rtl[i, index, 1]}, "
        f"meaning {meaning[i, index, 0]:#x} flags {meaning[i, index, 1]}"
        for i in different[:5]
    ]
    assert not examples, f"{len(different)} of {TRIPLES} differ: " + "; ".join(examples)


def test_the_operands_reach_every_kind_of_result(on_rtl):
    for index, instruction in enumerate(PACKED):
        low = on_rtl[:, index, 0] & 0xFFFF
        exponent, mantissa = low >> 10 & 31, low & 0x3FF
        kinds = {
            "NaN": (exponent == 31) & (mantissa != 0),
            "infinity": (exponent == 31) & (mantissa == 0),
            "subnormal": (exponent == 0) & (mantissa != 0),
            "zero": low & 0x7FFF == 0,
            "normal": (exponent > 0) & (exponent < 31),
        }
        for kind, found in kinds.items():
            assert found.sum() >= 10, f"{instruction}: {kind}"
        assert (on_rtl[:, index, 1] & 1).any(), f"{instruction} never overflows"
        assert (on_rtl[:, index, 1] & 2).any(), f"{instruction} is never invalid"
