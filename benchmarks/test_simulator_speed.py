"""How many cycles of the eight-core cluster a second of this machine simulates.

On one and on two threads of the host, in wall time and in processor time: the first is what one waits for, the second
is what other work on the machine distorts less. The best of several runs counts. The goal is 150 kHz of wall time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from odl.errors import MissingToolError
from odl.targets.common.elf import Elf
from odl.targets.cv32e40p.build_simulator import build_simulator
from odl.targets.cv32e40p.description import Cluster
from odl.targets.cv32e40p.run_program import ClusterResult, run
from odl.targets.pulp.cluster import MemoryLayout
from tests.targets.pulp_programs import build

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = ROOT / "build" / "benchmarks" / "simulator.json"
GOAL_KHZ = 150
ROUNDS = 5
#: Sources, and how often the program repeats itself: about a second of simulation.
PROGRAMS: dict[str, tuple[list[Path], int]] = {
    "6 loads, 8 vfmac.h": (
        [HERE / "programs" / "macs.c", ROOT / "tests" / "targets" / "programs" / "loops.S"],
        80,
    ),
    "mixed": ([HERE / "programs" / "mixed.c"], 10),
}


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds one of PROGRAMS, after the simulator itself."""
    try:
        build_simulator(Cluster())
    except MissingToolError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("programs")

    def build_one(name: str) -> Path:
        sources, repeat = PROGRAMS[name]
        output = folder / f"{sources[0].stem}.elf"
        include = [ROOT / "kernels"]
        return build(sources, output, MemoryLayout(), include=include, defines={"REPEAT": repeat})

    return build_one


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Iterator[list[dict[str, Any]]]:
    """Rows for the table and build/benchmarks/simulator.json, written when all are there."""
    rows: list[dict[str, Any]] = []
    yield rows
    if not rows:
        return
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"goal_khz": GOAL_KHZ, "cores": 8, "rows": rows}, indent=1) + "\n")
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    assert terminal is not None and capture is not None
    with capture.global_and_fixture_disabled():
        write_table(terminal, rows)


def write_table(terminal: pytest.TerminalReporter, rows: list[dict[str, Any]]) -> None:
    """The rows for people."""
    terminal.write_line("")
    terminal.section(f"simulated kHz, 8 busy cores (goal {GOAL_KHZ}): best of {ROUNDS} runs")
    columns = ("program", "threads", "cycles", "IPC per core", "kHz wall", "kHz processor", "load before")
    terminal.write_line("".join(f"{column:>15}" for column in columns))
    for row in rows:
        values = (row["cycles"], row["ipc"], row["wall_khz"], row["cpu_khz"], row["load_average"])
        numbers = "".join(f"{value:15.2f}" if isinstance(value, float) else f"{value:15}" for value in values)
        terminal.write_line(f"{row['program'][:14]:>15}{row['threads']:15}{numbers}")
    terminal.write_line(f"written to {RESULTS}")


def random_halves(elf: Path) -> dict[str, bytes]:
    """Numbers of ordinary size for the variables that the program computes with."""
    random = np.random.default_rng(0)
    symbols = Elf.read(elf).symbols
    return {
        name: random.uniform(-1, 1, symbols[name].size // 2).astype(np.float16).tobytes()
        for name in ("words", "inputs", "weights")
        if name in symbols
    }


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", PROGRAMS)
def test_simulated_cycles_per_second(
    benchmark: BenchmarkFixture,
    elf: Callable[[str], Path],
    report: list[dict[str, Any]],
    name: str,
    threads: int,
) -> None:
    """A program on eight cores, simulated on `threads` threads."""
    program = elf(name)
    load = random_halves(program)
    load_average = os.getloadavg()[0]
    results: list[ClusterResult] = []

    def simulate() -> None:
        results.append(run(program, Cluster(), load=load, threads=threads).check())

    benchmark.pedantic(simulate, rounds=ROUNDS)
    report.append(
        {
            "program": name,
            "threads": threads,
            "cycles": results[0].cycles,
            "ipc": results[0].total("instructions") / (8 * results[0].cycles),
            "wall_khz": max(result.cycles / result.seconds for result in results) / 1e3,
            "cpu_khz": max(result.cycles / result.cpu_seconds for result in results) / 1e3,
            "load_average": load_average,
        }
    )
