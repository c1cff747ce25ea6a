"""Runs convolution kernels on the simulated cluster as tests/kernels/conv_library runs them on the host.

Many cases share one simulation: their operands and results lie in L2 (as large as it takes), each case works in L1.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from odl.kernels.signature import Operand
from odl.targets.common import flags
from odl.targets.cv32e40p.description import Cluster
from odl.targets.cv32e40p.simulation import run
from odl.targets.pulp.cluster import MemoryLayout
from odl.targets.pulp.program import build
from tests.kernels import conv_library
from tests.kernels.cases import ISA, Function, header
from tests.kernels.conv_library import Numbers, Tiles, functions

PROGRAM = Path(__file__).parent / "programs" / "kernel_cases.c"
OPTIONS = (*flags.OPTIMISED, *flags.DEVICE, "-DODL_ISA_XCV")
SHAPE_WORDS, OPERANDS = 13, 5
NONE = 0xFFFFFFFF
GUARD_BYTES = 16


@dataclass(frozen=True)
class Case:
    """One call: `name(shape, *inputs, output, *limits, core, cores)`. An input may be None, or the string "output"."""

    name: str
    shape: ctypes.Structure
    inputs: Sequence[np.ndarray | str | None]
    output: np.ndarray
    limits: Sequence[float] = ()


@dataclass(frozen=True)
class Outcome:
    """What a case gave, and what it cost: cycles until the last core was done, counters summed over the cores."""

    output: np.ndarray
    cycles: int
    counters: Mapping[str, int]


class ClusterKernels:
    """Kernels compiled for the cluster, of the same templates as a host library."""

    def __init__(
        self, folder: Path, tiles: Tiles, numbers: Mapping[str, Numbers], kernels: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        made = [
            item for item in functions(dict(numbers), tiles) if not kernels or item.kernel.template in kernels
        ]
        self.sources = [_written(folder / f"{item.name}.c", item.rendered.text) for item in made]
        self.ids = {item.name: number for number, item in enumerate(made)}
        calls = [
            f"    case {self.ids[item.name]}:\n        {_call(item)};\n        break;\n" for item in made
        ]
        _written(folder / "kernels.h", header(made))
        _written(folder / "kernel_list.h", _KERNEL_LIST % (SHAPE_WORDS, OPERANDS, "".join(calls)))

    def run(
        self, cases: Sequence[Case], cluster: Cluster | None = None, max_cycles: int = 200_000_000
    ) -> list[Outcome]:
        """All cases in one simulation."""
        placed = [_Placed.of(case) for case in cases]
        data, begins = bytearray(), []
        for item in placed:
            begins.append(len(data))
            data += item.data
        rows = b"".join(
            item.row(self.ids[item.case.name], at) for item, at in zip(placed, begins, strict=True)
        )
        cluster = cluster or Cluster()
        l2_bytes = max(cluster.l2_bytes, _rounded_up(len(data) + len(rows) + (1 << 19), 1 << 16))
        l1_room = cluster.l1_bytes - cluster.cores * MemoryLayout().stack_bytes - 256
        needed = max(len(item.data) for item in placed)
        assert needed <= l1_room, f"operands of {needed} bytes do not fit L1"
        cluster = replace(cluster, l2_bytes=l2_bytes)
        elf = build(
            [PROGRAM, *self.sources],
            self.folder / f"program-{cluster.cores}.elf",
            MemoryLayout(cores=cluster.cores, l1_bytes=cluster.l1_bytes, l2_bytes=l2_bytes),
            defines={
                "CASES": len(cases),
                "DATA_BYTES": len(data),
                "ARENA_BYTES": _rounded_up(l1_room - 64, 64),
            },
            include=[ISA, self.folder],
            options=(*OPTIONS, *conv_library.WARNINGS),
        )
        load = {"cases": rows, "data": bytes(data), "case_count": struct.pack("<I", len(cases))}
        result = run(elf, cluster, load=load, dump=["data"], max_cycles=max_cycles, threads=1).check()
        assert len(result.marks) == 2 * len(cases)
        outcomes = []
        for i, (item, at) in enumerate(zip(placed, begins, strict=True)):
            begin, end = result.marks[2 * i : 2 * i + 2]
            counters = {
                name: sum(
                    after[name] - before[name]
                    for before, after in zip(begin.counters, end.counters, strict=True)
                )
                for name in begin.counters[0]
            }
            got = item.output(result.dumps["data"][at : at + len(item.data)])
            outcomes.append(Outcome(got, end.count - begin.count, counters))
        return outcomes


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _rounded_up(value: int, step: int) -> int:
    return -(-value // step) * step


def _call(function: Function) -> str:
    """The C call: operands by number, and the two limits by name."""
    parameters = function.kernel.present(function.context)
    operands = list(function.kernel.operands(function.context))
    passed = [f"p[{operands.index(item)}]" if isinstance(item, Operand) else item.name for item in parameters]
    return f"{function.name}({', '.join(['s', *passed, 'core', 'cores'])})"


_KERNEL_LIST = """#include "kernels.h"

#define SHAPE_WORDS %d
#define OPERANDS %d

static void run_kernel(uint32_t kernel, const void *s, void **p, float low, float high, uint32_t core, uint32_t cores) {
    switch (kernel) {
%s    default:
        odl_exit(2);
    }
}
"""


@dataclass(frozen=True)
class _Placed:
    """A case's operands as they lie in memory: a guard zone of NaN before, between and after them."""

    case: Case
    data: bytes
    offsets: tuple[int, ...]

    @staticmethod
    def of(case: Case) -> _Placed:
        data = bytearray(b"\xff" * GUARD_BYTES)
        offsets = []
        for operand in (*case.inputs, case.output):
            if operand is None:
                offsets.append(NONE)
            elif isinstance(operand, str):
                offsets.append(-1)
            else:
                offsets.append(len(data))
                content = operand.tobytes()
                data += content + b"\xff" * (_rounded_up(len(content), 16) - len(content) + GUARD_BYTES)
        offsets = [offsets[-1] if offset == -1 else offset for offset in offsets]
        offsets += [NONE] * (OPERANDS - len(offsets))
        return _Placed(case, bytes(data), tuple(offsets))

    def row(self, kernel: int, begin: int) -> bytes:
        words = [int(word) for word in _words(self.case.shape)]
        words += [0] * (SHAPE_WORDS - len(words))
        limits = list(self.case.limits) or [0.0, 0.0]
        layout = f"<I{SHAPE_WORDS}III{OPERANDS}Iff"
        return struct.pack(layout, kernel, *words, begin, len(self.data), *self.offsets, *limits)

    def output(self, after: bytes) -> np.ndarray:
        """The output; nothing else may have changed."""
        size = self.case.output.nbytes
        at = self.offsets[len(self.case.inputs)]
        unchanged = self.data[:at] == after[:at] and self.data[at + size :] == after[at + size :]
        assert unchanged, f"{self.case.name} wrote outside its output"
        return np.frombuffer(after[at : at + size], self.case.output.dtype).reshape(self.case.output.shape)


def _words(shape: ctypes.Structure) -> list[int]:
    return [getattr(shape, field[0]) for field in shape._fields_]
