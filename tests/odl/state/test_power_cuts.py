"""A saved state survives a power cut at every call, and no damage goes unseen; the harness sees what breaks either.

`make power-cuts` does the same with many more cuts; these are some of its networks.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.power_cuts import build, cases, run

SOME = ("convolutional, adam, mixed", "accumulating, momentum, fp16", "linear, sgd, fp16")
CASES = {case.name: case for case in cases()}


@pytest.mark.parametrize("name", SOME)
def test_every_cut_leaves_a_state_and_no_damage_is_accepted(name: str) -> None:
    figures = run(CASES[name], cuts=1500, damages=40_000)
    assert figures.sound, figures
    assert figures.cuts >= 1500 and figures.damages >= 40_000
    assert figures.counts["kept_old"] > 100 and figures.counts["took_new"] > 10


def test_nothing_is_read_or_written_out_of_bounds(tmp_path: Path) -> None:
    flags = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    program = build(CASES["linear, sgd, fp16"], tmp_path, {}, flags)
    subprocess.run([program, "1", "100", "3000"], check=True, capture_output=True)


#: What breaks a promise of the C, and the fault that must be counted then.
MUTATIONS: Mapping[str, tuple[Mapping[str, str], str]] = {
    "the mark is not last": (
        {
            "    put_header(&writer, generation, unit);\n": (
                "    writer.address += body;\n    for (uint32_t i = 0; i < unit; i += WORD_BYTES) {\n"
                "        put_word(&writer, MARK);\n    }\n    flush(&writer);\n    writer.address = base;\n"
                "    writer.crc = ~0u;\n    put_header(&writer, generation, unit);\n"
            ),
            "put_word(&writer, MARK);\n    }\n    flush(&writer);\n    return": "}\n    return",
            # Without the mark at the end only the order of writing tells an unfinished state; nothing else may.
            "bool whole = take_word(&reader) == slot->crc;": "bool whole = true;",
        },
        "mixed",
    ),
    "no CRC": ({"bool whole = take_word(&reader) == slot->crc;": "bool whole = true;"}, "accepted"),
    "no mark": ({"whole = take_word(&reader) == MARK && whole;": "(void)take_word(&reader);"}, "accepted"),
    "the newest state is erased": (
        {"const struct slot *const old = &slots[1u - kept];": "const struct slot *const old = &slots[kept];"},
        "unloadable",
    ),
    "generations do not start anew": (
        {"return generation != other && generation - other < 0x80000000u;": "return generation > other;"},
        "mixed",
    ),
    "nothing is erased": (
        {
            "if (storage->erase(storage->context": "if (block > storage->slot_blocks && storage->erase(storage->context"
        },
        "misuse",
    ),
    "what is looked at is restored at once": (
        {"struct pass pass = {.status = NET_OK};": "struct pass pass = {.restore = true, .status = NET_OK};"},
        "harmed",
    ),
}


@pytest.mark.parametrize(("change", "fault"), MUTATIONS.values(), ids=MUTATIONS.keys())
def test_the_harness_sees_a_broken_promise(change: Mapping[str, str], fault: str) -> None:
    figures = run(CASES["linear, sgd, fp16"], cuts=1000, damages=25_000, change=change)
    assert figures.faults[fault] > 0, figures
