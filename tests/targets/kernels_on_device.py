"""Calls of kernels (`Case`) on a device, all in one run: on the simulated cluster, and on QEMU.

Operands, scalars among them, have guard zones of NaN around them; on the cluster they lie in L1 while a kernel runs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from odl.kernels.signature import Operand
from odl.targets.common import flags
from odl.targets.cv32e40p.description import Cluster
from odl.targets.cv32e40p.run_program import run as simulate
from odl.targets.pulp.cluster import MemoryLayout
from odl.targets.qemu.emulation import run as emulate
from odl.targets.qemu.machine import Machine
from tests.kernels.cases import ISA, Case, Function, header
from tests.targets import qemu_programs
from tests.targets.pulp_programs import build

PROGRAM = Path(__file__).parent / "programs" / "kernel_cases.c"
OPTIONS = (*flags.OPTIMISED, *flags.DEVICE, "-DODL_ISA_XCV", *flags.STANDARD, *flags.WARNINGS, "-Werror")
SHAPE_WORDS, OPERANDS, GUARD_BYTES, NONE = 14, 14, 16, 0xFFFFFFFF


@dataclass(frozen=True)
class Outcome:
    """What a call has written, and its cycles until the last core was done."""

    written: list[Any]
    cycles: int


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
            is_array = isinstance(argument, np.ndarray)
            if id(argument) not in places or not is_array:
                places[id(argument)] = len(data)
                content = argument.tobytes() if is_array else struct.pack("<f", argument)
                data += content + b"\xff" * (-len(content) % 16 + GUARD_BYTES)
            offsets.append(places[id(argument)])
        return _Placed(case, bytes(data), tuple(offsets))

    def row(self, kernel: int, begin: int) -> bytes:
        """The struct kernel_case of programs/kernel_cases.c."""
        words = [*self.case.sizes, *[0] * (SHAPE_WORDS - len(self.case.sizes))]
        offsets = [*self.offsets, *[NONE] * (OPERANDS - len(self.offsets))]
        return struct.pack(f"<I{SHAPE_WORDS}III{OPERANDS}I", kernel, *words, begin, len(self.data), *offsets)

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


class _Program:
    """Calls as C sources in a folder, and as the data of one run."""

    def __init__(self, folder: Path, cases: Sequence[Case]) -> None:
        functions = {case.function.name: case.function for case in cases}
        assert all(functions[case.function.name] == case.function for case in cases)
        numbers = {name: number for number, name in enumerate(functions)}
        self.folder = folder
        self.sources = [PROGRAM, *(folder / f"{name}.c" for name in functions)]
        for function in functions.values():
            (folder / f"{function.name}.c").write_text(function.rendered.text)
        calls = (
            f"    case {numbers[name]}:\n        {_call(functions[name])};\n        break;\n"
            for name in numbers
        )
        (folder / "kernels.h").write_text(header(functions.values()))
        (folder / "kernel_list.h").write_text(_KERNEL_LIST % (SHAPE_WORDS, OPERANDS, "".join(calls)))
        self.placed = [_Placed.of(case) for case in cases]
        self.data, self.begins, rows = bytearray(), [], bytearray()
        for item in self.placed:
            rows += item.row(numbers[item.case.function.name], len(self.data))
            self.begins.append(len(self.data))
            self.data += item.data
        count = struct.pack("<I", len(cases))
        self.load = {"cases": bytes(rows), "data": bytes(self.data), "case_count": count}
        self.largest = max(len(item.data) for item in self.placed)

    def defines(self, arena_bytes: int) -> dict[str, str | int]:
        return {"CASES": len(self.placed), "DATA_BYTES": len(self.data), "ARENA_BYTES": arena_bytes}

    def written(self, data: bytes) -> list[list[Any]]:
        """What every call has written."""
        return [
            item.written(data[at : at + len(item.data)])
            for item, at in zip(self.placed, self.begins, strict=True)
        ]


def _call(function: Function) -> str:
    passed = [
        f"p[{index}]" if isinstance(parameter, Operand) else f"*(const float *)p[{index}]"
        for index, parameter in enumerate(function.kernel.present(function.context))
    ]
    return f"{function.name}({', '.join(['s', *passed, 'core', 'cores'])})"


_KERNEL_LIST = """#include "kernels.h"

#define SHAPE_WORDS %d
#define OPERANDS %d

static void run_kernel(uint32_t kernel, const void *s, void **p, uint32_t core, uint32_t cores) {
    switch (kernel) {
%s    default:
        odl_exit(2);
    }
}
"""


def on_cluster(folder: Path, cases: Sequence[Case], cluster: Cluster | None = None) -> list[Outcome]:
    """All calls in one simulation; L2 is as large as they take."""
    program, cluster = _Program(folder, cases), cluster or Cluster()
    taken = sum(map(len, program.load.values())) + (1 << 19)
    cluster = replace(cluster, l2_bytes=max(cluster.l2_bytes, -(-taken // 65536) * 65536))
    l1_room = cluster.l1_bytes - cluster.cores * MemoryLayout().stack_bytes - 256
    assert program.largest <= l1_room, f"operands of {program.largest} bytes do not fit L1"
    elf = build(
        program.sources,
        folder / f"program-{cluster.cores}.elf",
        MemoryLayout(cores=cluster.cores, l1_bytes=cluster.l1_bytes, l2_bytes=cluster.l2_bytes),
        defines=program.defines(l1_room // 64 * 64 - 64),
        include=[ISA, folder],
        options=OPTIONS,
    )
    ended = simulate(
        elf, cluster, load=program.load, dump=["data"], max_cycles=200_000_000, threads=1
    ).check()
    assert len(ended.marks) == 2 * len(cases)
    counts = [mark.count for mark in ended.marks]
    cycles = [end - begin for begin, end in zip(counts[::2], counts[1::2], strict=True)]
    return [Outcome(*pair) for pair in zip(program.written(ended.dumps["data"]), cycles, strict=True)]


def on_qemu(folder: Path, cases: Sequence[Case], machine: Machine) -> list[list[Any]]:
    """What every call has written, all in one run."""
    program = _Program(folder, cases)
    elf = qemu_programs.build(
        program.sources,
        folder / f"program-{machine.isa}-{machine.harts}.elf",
        machine.isa,
        machine.harts,
        defines=program.defines(-(-program.largest // 64) * 64),
        include=[folder],
    )
    return program.written(emulate(elf, machine, load=program.load, dump=["data"]).check().dumps["data"])
