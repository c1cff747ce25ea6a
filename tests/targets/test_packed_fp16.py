"""Packed fp16 instructions on the core's RTL against their C meaning on the host, bit by bit, flags included.

The instructions are those of the kernels' headers: every function there of words, halves and floats that gives one.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from odl.targets.cv32e40p.description import Cluster
from odl.targets.cv32e40p.run_program import run

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "kernels"
TRIPLES = 4096
HEADERS = ("packed_fp16.h", "half.h")
# How a parameter of each type is taken from the operands at a position, and a result becomes a word
PARAMETER = {"uint32_t": "H({})", "float": "F({})", "odl_f16": "(odl_f16)H({})"}
RESULT = {"uint32_t": "{}", "float": "as_bits({})", "odl_f16": "{}"}


@dataclass(frozen=True)
class Instruction:
    """A function of a header. `operands` has "H" (two halves), "h" (one) or "F" (a float) per parameter."""

    name: str
    operands: str
    call: str
    encoding: tuple[int, int] | None
    """funct3 and funct7 of the 32-bit word that it must consist of, where it is one of opcode 0x33."""


def discover(text: str) -> list[Instruction]:
    """The instructions of a header, in order, each once."""
    found: dict[str, Instruction] = {}
    types = "|".join(PARAMETER)
    function = rf"^static inline ({types}) (odl_\w+)\(((?:(?:{types}) \w+(?:, )?)+)\) \{{"
    for match in re.finditer(function, text, re.MULTILINE):
        result, name, parameters = match.groups()
        kinds = [parameter.split()[0] for parameter in parameters.split(", ")]
        arguments = ", ".join(PARAMETER[kind].format(i) for i, kind in enumerate(kinds))
        body = text[match.end() :].split("\nstatic ")[0]
        encoding = re.search(r"ODL_PACKED_INSN\w*\((\d), (0x\w+),", body)
        instruction = Instruction(
            name,
            "".join({"uint32_t": "H", "float": "F", "odl_f16": "h"}[kind] for kind in kinds),
            RESULT[result].format(f"{name}({arguments})"),
            (int(encoding[1]), int(encoding[2], 16)) if encoding else None,
        )
        found.setdefault(name, instruction)
    return list(found.values())


INSTRUCTIONS = [
    instruction
    for header in HEADERS
    for instruction in discover((KERNELS / "isa" / header).read_text(encoding="utf-8"))
]
ROUNDING = [item for item in INSTRUCTIONS if re.match(r"odl_vf(add|sub|mul|mac|mre)", item.name)]

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
    """TRIPLES × (three words of packed halves, three floats)."""
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
    return np.concatenate([packed, floats], axis=1)


def write_list(folder: Path) -> Path:
    """Write instruction_list.h to the folder, which is returned."""
    cases = [f"case {i}: return {item.call};" for i, item in enumerate(INSTRUCTIONS)]
    text = " \\\n    ".join(["#define INSTRUCTION_CASES", *cases])
    (folder / "instruction_list.h").write_text(f"{text}\n#define INSTRUCTIONS {len(INSTRUCTIONS)}\n")
    return folder


@pytest.fixture(scope="module")
def elf(simulator_tools, program, tmp_path_factory) -> Path:
    include = write_list(tmp_path_factory.mktemp("device"))
    return program("instructions.c", include=[include], TRIPLES=TRIPLES, ODL_ISA_XCV=1)


@pytest.fixture(scope="module")
def on_rtl(elf) -> np.ndarray:
    """TRIPLES × instructions × (result, flags)."""
    load = {"operands": operands().astype("<u4").tobytes()}
    cluster = Cluster(icache=None, l2_bytes=8 << 20)
    result = run(elf, cluster, load=load, dump=["results"], max_cycles=50_000_000).check()
    return np.frombuffer(result.dumps["results"], np.uint32).reshape(TRIPLES, len(INSTRUCTIONS), 2)


def on_host(folder: Path, options: list[str]) -> np.ndarray:
    executable = folder / "instructions"
    include = [f"-I{KERNELS}", f"-I{write_list(folder)}", f"-DTRIPLES={TRIPLES}"]
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


def differences(index: int, on_rtl: np.ndarray, meaning: np.ndarray) -> str:
    """Says how many results or flags of an instruction differ, with examples; empty where none does."""
    different = np.flatnonzero((on_rtl[:, index] != meaning[:, index]).any(axis=1))
    kinds = INSTRUCTIONS[index].operands
    places = [i + 3 * (kind == "F") for i, kind in enumerate(kinds)]
    examples = [
        f"{[hex(x) for x in operands()[i, places]]}: RTL {on_rtl[i, index, 0]:#x} flags {on_rtl[i, index, 1]}, "
        f"meaning {meaning[i, index, 0]:#x} flags {meaning[i, index, 1]}"
        for i in different[:5]
    ]
    return f"{len(different)} of {TRIPLES} differ: " + "; ".join(examples) if examples else ""


@pytest.mark.parametrize("index", range(len(INSTRUCTIONS)), ids=[item.name for item in INSTRUCTIONS])
def test_result_and_flags(on_rtl, meaning, index):
    assert not differences(index, on_rtl, meaning)


def test_a_wrong_bit_or_flag_would_be_seen(on_rtl):
    for part in (0, 1):
        wrong = on_rtl.copy()
        wrong[TRIPLES // 2, 3, part] ^= 1
        assert differences(3, on_rtl, wrong).startswith("1 of")
        assert not differences(2, on_rtl, wrong)


def test_every_instruction_is_found():
    names = [item.name for item in INSTRUCTIONS]
    known = {"odl_vfadd_h", "odl_vfmac_h", "odl_vfmac_r_h", "odl_vfcpka_h_s"}
    assert known | {"odl_half_to_float", "odl_float_to_half"} <= set(names)
    # Read in another way: whatever the header calls an instruction of packed halves
    text = (KERNELS / "isa" / "packed_fp16.h").read_text(encoding="utf-8")
    assert set(re.findall(r"\b(odl_vf\w+)\(", text)) <= set(names)
    (item,) = discover("static inline float odl_x(float sum, uint32_t a, odl_f16 b) {\n    return sum;\n}\n")
    assert (item.operands, item.call) == ("FHh", "as_bits(odl_x(F(0), H(1), (odl_f16)H(2)))")
    assert discover("static inline uint32_t odl_pack(__m128 v) {\n}\n") == []


def test_the_device_executes_the_instructions(elf):
    words = np.frombuffer(elf.read_bytes()[: elf.stat().st_size // 2 * 2], "<u2").astype(np.uint32)
    words = words[:-1] | words[1:] << 16
    found = set(zip((words >> 12 & 7).tolist(), (words >> 25).tolist(), (words & 0x7F).tolist(), strict=True))
    for item in INSTRUCTIONS:
        assert item.encoding is None or (*item.encoding, 0x33) in found, item.name
    assert sum(item.encoding is not None for item in INSTRUCTIONS) >= 6


@pytest.mark.parametrize("item", ROUNDING, ids=[item.name for item in ROUNDING])
def test_the_operands_reach_every_kind_of_result(on_rtl, item):
    index = INSTRUCTIONS.index(item)
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
        assert found.sum() >= 10, kind
    assert (on_rtl[:, index, 1] & 1).any(), "never overflows"
    assert (on_rtl[:, index, 1] & 2).any(), "is never invalid"
