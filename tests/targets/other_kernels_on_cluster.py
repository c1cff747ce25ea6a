"""Replays calls of kernels, recorded on the host by tests/kernels, on the simulated cluster: all in one simulation.

Operands, numbers among them, lie in L1 while a kernel runs; every operand has guard zones around it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from odl.kernels.signature import Operand
from odl.targets.cv32e40p.description import Cluster
from odl.targets.cv32e40p.simulation import run
from odl.targets.pulp.cluster import MemoryLayout
from odl.targets.pulp.program import build
from tests.kernels.cases import ISA, Case, Function, header
from tests.targets.kernels_on_cluster import OPTIONS, PROGRAM

SHAPE_WORDS, OPERANDS, GUARD_BYTES, NONE = 14, 14, 16, 0xFFFFFFFF
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror")


@dataclass(frozen=True)
class Outcome:
    """What a call gave, and what it cost: cycles until the last core was done, counters summed over the cores."""

    written: list[Any]
    cycles: int
    counters: Mapping[str, int]


@dataclass(frozen=True)
class _Placed:
    """A call's operands as they lie in memory."""

    case: Case
    data: bytes
    offsets: tuple[int, ...]

    @staticmethod
    def of(case: Case) -> _Placed:
        data = bytearray(b"\xff" * GUARD_BYTES)
        places: dict[int, int] = {}
        offsets = []
        for argument in case.in_order:
            if argument is None:
                offsets.append(NONE)
                continue
            if id(argument) not in places or not isinstance(argument, np.ndarray):
                places[id(argument)] = len(data)
                content = (
                    argument.tobytes() if isinstance(argument, np.ndarray) else struct.pack("<f", argument)
                )
                data += content + b"\xff" * (-len(content) % 16 + GUARD_BYTES)
            offsets.append(places[id(argument)])
        return _Placed(case, bytes(data), tuple(offsets))

    def row(self, kernel: int, begin: int) -> bytes:
        """The struct kernel_case of programs/kernel_cases.c."""
        words = self.case.sizes
        words += [0] * (SHAPE_WORDS - len(words))
        offsets = [*self.offsets, *[NONE] * (OPERANDS - len(self.offsets))]
        layout = f"<I{SHAPE_WORDS}III{OPERANDS}Iff"
        return struct.pack(layout, kernel, *words, begin, len(self.data), *offsets, 0.0, 0.0)

    def written(self, after: bytes) -> list[Any]:
        """The arrays written; nothing else may have changed."""
        results, expected = [], bytearray(self.data)
        present = self.case.function.kernel.present(self.case.function.context)
        places = {item.name: at for item, at in zip(present, self.offsets, strict=True)}
        for operand, array in self.case.written.items():
            at = places[operand]
            expected[at : at + array.nbytes] = after[at : at + array.nbytes]
            results.append(np.frombuffer(after[at : at + array.nbytes], array.dtype).reshape(array.shape))
        assert bytes(expected) == after, f"{self.case.function.name} wrote outside its outputs"
        return results


def _call(function: Function) -> str:
    passed = [
        f"p[{index}]" if isinstance(parameter, Operand) else f"*(const float *)p[{index}]"
        for index, parameter in enumerate(function.kernel.present(function.context))
    ]
    return f"{function.name}({', '.join(['s', *passed, 'core', 'cores'])})"


_KERNEL_LIST = """#include "kernels.h"

#define SHAPE_WORDS %d
#define OPERANDS %d

static void run_kernel(uint32_t kernel, const void *s, void **p, float low, float high, uint32_t core, uint32_t cores) {
    (void)low;
    (void)high;
    switch (kernel) {
%s    default:
        odl_exit(2);
    }
}
"""


def _render(folder: Path, functions: Sequence[Function]) -> None:
    """kernels.h, kernel_list.h and a file for every function; its number is its place."""
    cases = "".join(
        f"    case {number}:\n        {_call(function)};\n        break;\n"
        for number, function in enumerate(functions)
    )
    for function in functions:
        (folder / f"{function.name}.c").write_text(function.rendered.text)
    (folder / "kernels.h").write_text(header(functions))
    (folder / "kernel_list.h").write_text(_KERNEL_LIST % (SHAPE_WORDS, OPERANDS, cases))


def replay(
    folder: Path,
    calls: Sequence[Case],
    cluster: Cluster | None = None,
    max_cycles: int = 200_000_000,
) -> list[Outcome]:
    """All calls in one simulation."""
    functions = list({case.function.name: case.function for case in calls}.values())
    _render(folder, functions)
    numbers = {function.name: number for number, function in enumerate(functions)}
    placed = [_Placed.of(call) for call in calls]
    data, begins = bytearray(), []
    for item in placed:
        begins.append(len(data))
        data += item.data
    rows = b"".join(
        item.row(numbers[item.case.function.name], at) for item, at in zip(placed, begins, strict=True)
    )
    cluster = cluster or Cluster()
    l2_bytes = max(cluster.l2_bytes, -(-(len(data) + len(rows) + (1 << 19)) // 65536) * 65536)
    cluster = replace(cluster, l2_bytes=l2_bytes)
    l1_room = cluster.l1_bytes - cluster.cores * MemoryLayout().stack_bytes - 256
    assert max(len(item.data) for item in placed) <= l1_room, "operands do not fit L1"
    elf = build(
        [PROGRAM, *(folder / f"{name}.c" for name in numbers)],
        folder / f"program-{cluster.cores}.elf",
        MemoryLayout(cores=cluster.cores, l1_bytes=cluster.l1_bytes, l2_bytes=l2_bytes),
        defines={"CASES": len(calls), "DATA_BYTES": len(data), "ARENA_BYTES": l1_room // 64 * 64 - 64},
        include=[ISA, folder],
        options=(*OPTIONS, *WARNINGS),
    )
    load = {"cases": rows, "data": bytes(data), "case_count": struct.pack("<I", len(calls))}
    result = run(elf, cluster, load=load, dump=["data"], max_cycles=max_cycles, threads=1).check()
    assert len(result.marks) == 2 * len(calls)
    outcomes = []
    for i, (item, at) in enumerate(zip(placed, begins, strict=True)):
        begin, end = result.marks[2 * i : 2 * i + 2]
        counters = {
            name: sum(
                after[name] - before[name] for before, after in zip(begin.counters, end.counters, strict=True)
            )
            for name in begin.counters[0]
        }
        written = item.written(result.dumps["data"][at : at + len(item.data)])
        outcomes.append(Outcome(written, end.count - begin.count, counters))
    return outcomes
