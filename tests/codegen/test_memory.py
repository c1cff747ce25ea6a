"""The memory plan is what the program really touches: canaries around and inside the arena of the host build."""

import ctypes
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import odl
from odl import zoo
from tests.networks import samples, tiny_build, written

GUARD = 4096
PATTERNS = (0x5A, 0xA5)
_ARENA = "_Alignas(16) uint8_t net_arena[NET_ARENA_BYTES];"
_GUARDED = f"""
struct guarded {{
    uint8_t before[{GUARD}];
    _Alignas(16) uint8_t arena[NET_ARENA_BYTES];
    uint8_t after[{GUARD}];
}} net_guarded;
#define net_arena net_guarded.arena
/* what other files call it */
__asm__(".globl net_arena\\n.set net_arena, net_guarded + {GUARD}");
"""


@dataclass(frozen=True)
class Trace:
    """What a run computed, and the arena with its guards afterwards."""

    numbers: list[float]
    memory: np.ndarray


class Guarded:
    """The exact library of a project whose arena lies between guard zones."""

    def __init__(self, build: odl.Build, directory: Path) -> None:
        self.plan = build.compiled.network.schedule.memory
        written(build, directory)
        source = (directory / "net.c").read_text()
        assert source.count(_ARENA) == 1
        (directory / "net.c").write_text(source.replace(_ARENA, _GUARDED))
        subprocess.run(["make", "-s", "net_exact.so", "CFLAGS=-O1"], cwd=directory, check=True)
        self._library = directory / "net_exact.so"

    def run(self, pattern: int, x: np.ndarray, target: np.ndarray) -> Trace:
        """Fill everything with the pattern, then initialise, infer and train, and look at the memory."""
        library = ctypes.CDLL(str(self._library))
        loss = ctypes.c_float()
        memory = np.ctypeslib.as_array(
            (ctypes.c_uint8 * (self.plan.arena_bytes + 2 * GUARD)).in_dll(library, "net_guarded")
        )
        memory[:] = pattern
        library.net_init()
        pointer = ctypes.POINTER(ctypes.c_float)
        output = np.zeros(target.shape[-1], dtype=np.float32)
        numbers: list[float] = []
        for step in range(2):
            one, wanted = x[step].ctypes.data_as(pointer), target[step].ctypes.data_as(pointer)
            assert library.net_infer(one, output.ctypes.data_as(pointer)) == 0
            numbers += output.tolist()
            assert library.net_train_step(one, wanted, None, ctypes.byref(loss)) == 0
            numbers.append(loss.value)
        return Trace(numbers, memory.copy())


def planned(plan) -> np.ndarray:
    """Which bytes of the arena belong to some buffer."""
    inside = np.zeros(plan.arena_bytes, dtype=bool)
    for placement in plan.placements:
        inside[placement.offset : placement.end] = True
    return inside


CASES = {
    "mixed": {"dtype": "mixed", "bn": "train"},
    "fp16-momentum": {"dtype": "fp16", "bn": "fold", "optimizer": odl.SGD(0.01, momentum=0.9)},
    "fp32-adam": {"dtype": "fp32", "bn": "frozen", "optimizer": odl.Adam(0.001)},
    "accumulate": {"dtype": "mixed", "bn": "fold", "accumulate": True},
}


@pytest.mark.parametrize("name", CASES)
def test_the_plan_is_what_is_touched(name, tmp_path):
    guarded = Guarded(tiny_build(**CASES[name]), tmp_path / "net")
    x, labels = samples(2)
    inputs = np.ascontiguousarray(x.numpy().transpose(0, 2, 3, 1))
    target = np.eye(3, dtype=np.float32)[labels]
    traces = {pattern: guarded.run(pattern, inputs, target) for pattern in PATTERNS}
    first, second = (traces[pattern] for pattern in PATTERNS)
    # Nothing is read that the program has not written: the results do not depend on what was there.
    assert np.isfinite(first.numbers).all() and first.numbers == second.numbers
    for pattern, trace in traces.items():
        assert (trace.memory[:GUARD] == pattern).all(), "written before the arena"
        assert (trace.memory[-GUARD:] == pattern).all(), "written behind the arena"
    arenas = [trace.memory[GUARD:-GUARD] for trace in traces.values()]
    touched = (arenas[0] != PATTERNS[0]) | (arenas[1] != PATTERNS[1])
    inside = planned(guarded.plan)
    transient = np.arange(len(inside)) >= guarded.plan.persistent_bytes
    stray = np.flatnonzero(touched & transient & ~inside)
    assert stray.size == 0, f"{stray.size} bytes outside every planned buffer are written, first {stray[:1]}"
    # The peak is real: memory is touched up to its end, and but for alignment all of it is planned.
    assert np.flatnonzero(touched).max() >= guarded.plan.arena_bytes - 4
    assert np.count_nonzero(~inside) < 4 * len(guarded.plan.placements)
    assert np.count_nonzero(inside & ~touched) == 0


def test_a_write_behind_the_arena_is_caught(tmp_path):
    """The canary itself works: net_init is made to write one byte behind the arena."""
    directory = tmp_path / "net"
    guarded = Guarded(tiny_build(**CASES["fp32-adam"]), directory)
    source = (directory / "net.c").read_text()
    line = "    net_state.learning_rate = 0.001f;\n"
    assert source.count(line) == 1
    (directory / "net.c").write_text(source.replace(line, f"{line}    net_arena[NET_ARENA_BYTES + 3] = 0;\n"))
    subprocess.run(["make", "-s", "net_exact.so", "CFLAGS=-O1 -w"], cwd=directory, check=True)
    x, labels = samples(2)
    inputs = np.ascontiguousarray(x.numpy().transpose(0, 2, 3, 1))
    trace = guarded.run(PATTERNS[0], inputs, np.eye(3, dtype=np.float32)[labels])
    assert not (trace.memory[-GUARD:] == PATTERNS[0]).all()


@pytest.fixture(scope="module")
def resnet8():
    model = zoo.get("resnet8")
    torch.manual_seed(0)
    return odl.compile(model.factory(), torch.zeros(1, *model.input_shape), dtype="fp16", bn="fold")


def test_resnet8_trains_in_420_kilobytes(resnet8):
    """fp16, full update, SGD, batch norm folded; weights, activations, scratch and all else."""
    memory = resnet8.memory["ram"]
    assert memory["peak_bytes"] <= 420_000
    assert sum(memory["by_purpose"].values()) == memory["peak_bytes"]
    assert memory["by_purpose"]["weights"] >= 2 * 77_000


def test_resnet8_plan_has_no_bytes_without_a_buffer(resnet8):
    plan = resnet8.compiled.network.schedule.memory
    inside = planned(plan)
    assert np.count_nonzero(~inside) < 4 * len(plan.placements)
    assert max(placement.end for placement in plan.placements) == plan.arena_bytes
