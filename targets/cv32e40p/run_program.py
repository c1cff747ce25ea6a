"""Runs a program on the simulated cluster: data in, data out, cycles and where they went."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from typing_extensions import override

from odl.errors import InputError
from odl.targets.common.elf import Elf
from odl.targets.common.session import Mark, RunResult, Session, Trace, Unit, Watch, watched
from odl.targets.cv32e40p.build_simulator import build_simulator
from odl.targets.cv32e40p.description import Cluster

DEFAULT_MAX_CYCLES = 1_000_000_000
_MEMORY_READ, _MEMORY_WRITTEN = 1, 2
_GUARD_BYTES = 16


@dataclass(frozen=True)
class Fault:
    """Why the simulator stopped a program."""

    kind: str
    """unmapped, illegal_instruction, breakpoint, trap, stack_overflow, dma, deadlock or cycle_limit"""
    message: str
    core: int
    pc: int
    symbol: str
    """Function and offset of `pc`."""
    address: int | None
    """The data address at fault, where there is one."""

    def __str__(self) -> str:
        where = f"core {self.core} at pc 0x{self.pc:08x} ({self.symbol})"
        address = f", address 0x{self.address:08x}" if self.address is not None else ""
        return f"{self.message}: {where}{address}"


@dataclass(frozen=True)
class CoreState:
    """A core at the end of a run. The counters add up to the run's cycles."""

    counters: Mapping[str, int]
    pc: int
    symbol: str
    asleep: bool


@dataclass(frozen=True)
class ClusterResult(RunResult):
    """What a run on the cluster gave: beside all that others give, every core, and why it stopped a program."""

    fault: Fault | None = None
    cycles: int = 0
    cores: tuple[CoreState, ...] = ()
    cpu_seconds: float = 0.0
    """Processor time of the simulation, over all its threads: what counts where other work runs beside it."""

    def total(self, counter: str) -> int:
        """One counter summed over the cores."""
        return sum(core.counters[counter] for core in self.cores)


def run(
    elf: Path,
    cluster: Cluster | None = None,
    *,
    load: Mapping[str, bytes] | None = None,
    dump: Iterable[str] | Mapping[str, int] = (),
    max_cycles: int = DEFAULT_MAX_CYCLES,
    deliver_traps: bool = False,
    threads: int | None = None,
    trace: Trace | None = None,
    watch: Sequence[Watch] = (),
) -> ClusterResult:
    """Run a program and return what came out of it.

    `load` gives the contents of variables before the start, `dump` names variables to return (their whole size, or
    the given number of bytes). With `deliver_traps` an exception goes to the program's trap handler; otherwise the
    run stops there with a fault. A program at fault is a result, not an error: see `RunResult.check`. `threads` of the
    host share the work, by default $ODL_SIMULATOR_THREADS, else two where it has two processors; the result does not
    depend on it. `trace` writes a VCD file beside.

    Raises InputError for an unknown or too small variable, MissingToolError where the simulator cannot be built.
    """
    cluster = cluster or Cluster()
    program = Elf.read(elf)
    _check_cores(program, cluster)
    simulator = build_simulator(cluster)
    sizes = dump if isinstance(dump, Mapping) else {name: program.symbol(name).size for name in dump}
    with tempfile.TemporaryDirectory(prefix="odl-run-") as folder:
        scratch = Path(folder)
        stacks = (cluster.cores + cluster.controller) * program.symbol("__stack_bytes").address
        arguments: list[tuple[str, object]] = [
            *cluster.simulator_arguments(),
            ("--elf", elf),
            ("--max-cycles", max_cycles),
            ("--result", scratch / "result.json"),
            ("--touched", scratch / "touched"),
            (
                "--threads",
                threads or int(os.environ.get("ODL_SIMULATOR_THREADS", 0)) or min(2, os.cpu_count() or 1),
            ),
            ("--deliver-traps", int(deliver_traps)),
            *(trace_arguments(trace, cluster) if trace else ()),
            *([("--watched", scratch / "watched")] if watch else ()),
            *(("--watch", f"{item.mark}:{item.address}:{item.bytes}") for item in watch),
            *_loads(load or {}, program, scratch),
            *(
                ("--dump", f"{program.symbol(name).address}:{size}={scratch / f'dump{i}'}")
                for i, (name, size) in enumerate(sizes.items())
            ),
            ("--stacks", f"{program.symbol('__stacks').address}:{stacks}"),
            *(
                ("--guard", f"{symbol.address}:{_GUARD_BYTES}")
                for symbol in program.symbols_with_prefix("__stack_guard_")
            ),
        ]
        command = [str(simulator), *(str(text) for argument in arguments for text in argument)]
        done = subprocess.run(command, capture_output=True)
        if done.returncode != 0:
            raise InputError(_complaint(done.returncode, done.stderr.decode(errors="replace")))
        dumps = {name: (scratch / f"dump{i}").read_bytes() for i, name in enumerate(sizes)}
        touched = _touched((scratch / "touched").read_bytes(), cluster)
        report = json.loads((scratch / "result.json").read_text())
        seen = io.BytesIO((scratch / "watched").read_bytes() if watch else b"")
    result = _result(report, program, done.stdout.decode(errors="replace"), dumps, touched)
    return replace(result, watched=watched(watch, result.marks, seen.read))


def _check_cores(program: Elf, cluster: Cluster) -> None:
    def cores(workers: int, controller: bool) -> str:
        return f"{workers} cores{' and a controller' if controller else ''}"

    built_for = cores(program.symbol("__odl_cores").address, bool(program.symbol("__odl_controller").address))
    here = cores(cluster.cores, cluster.controller)
    if built_for != here:
        raise InputError(f"{program.path.name} is built for {built_for} and cannot run on {here}")


def _loads(load: Mapping[str, bytes], program: Elf, scratch: Path) -> Iterator[tuple[str, str]]:
    for i, (name, content) in enumerate(load.items()):
        symbol = program.symbol_with_room(name, len(content))
        path = scratch / f"load{i}"
        path.write_bytes(content)
        yield "--load", f"{symbol.address}={path}"


def _complaint(code: int, stderr: str) -> str:
    line = stderr.strip().splitlines()[-1] if stderr.strip() else ""
    if code < 0:
        return f"the simulator was ended by signal {-code}{os.linesep if line else ''}{line}"
    return line or f"the simulator ended with code {code}"


def _touched(notes: bytes, cluster: Cluster) -> dict[str, np.ndarray[Any, np.dtype[np.bool_]]]:
    words = np.frombuffer(notes, np.uint8) & (_MEMORY_READ | _MEMORY_WRITTEN) != 0
    l1_words = cluster.l1_bytes // 4
    return {"l1": words[:l1_words], "l2": words[l1_words:]}


def _result(
    report: dict[str, Any],
    program: Elf,
    stdout: str,
    dumps: dict[str, bytes],
    touched: dict[str, np.ndarray[Any, np.dtype[np.bool_]]],
) -> ClusterResult:
    names = report["counter_names"]

    def counters(values: list[int]) -> dict[str, int]:
        return dict(zip(names, values, strict=True))

    fault = None
    if report["fault"]:
        fault = Fault(**report["fault"], symbol=program.locate(report["fault"]["pc"]))
    status, problem = report["exit_status"], None if fault is None else str(fault)
    if problem is None and status != 0:
        problem = f"the program ended with status {status}"
    return ClusterResult(
        exit_status=status,
        output=stdout,
        problem=problem,
        fault=fault,
        cycles=report["cycles"],
        cores=tuple(
            CoreState(counters(core["counters"]), core["pc"], program.locate(core["pc"]), core["asleep"])
            for core in report["cores"]
        ),
        marks=tuple(
            Mark(mark["id"], mark["cycle"], tuple(counters(values) for values in mark["counters"]))
            for mark in report["marks"]
        ),
        dumps=dumps,
        touched=touched,
        seconds=report["seconds"],
        cpu_seconds=report["cpu_seconds"],
    )


def trace_arguments(trace: Trace, cluster: Cluster) -> list[tuple[str, object]]:
    """A trace as options of the simulator. InputError for an empty window or a core that is not there."""
    if not 0 <= trace.first_cycle <= trace.last_cycle:
        raise InputError(f"trace of cycles {trace.first_cycle} to {trace.last_cycle}: there are none")
    cores = cluster.cores + cluster.controller
    if trace.core is not None and not 0 <= trace.core < cores:
        raise InputError(f"trace of core {trace.core}: the cluster has cores 0 to {cores - 1}")
    window = [("--trace-first", trace.first_cycle), ("--trace-last", trace.last_cycle)]
    return [
        ("--trace", trace.file),
        *window,
        *([("--trace-core", trace.core)] if trace.core is not None else ()),
    ]


@dataclass
class ClusterSession(Session):
    """A run that takes more than `max_cycles` is at fault."""

    max_cycles: int = 2 * DEFAULT_MAX_CYCLES
    _trace: Trace | None = None

    @classmethod
    def on(cls, cluster: Cluster) -> Self:
        """A session on that cluster, which counts cycles."""
        return cls(partial(run, cluster=cluster), Unit.CYCLES, cluster)

    @override
    def run(
        self, program: Path, load: Mapping[str, bytes], dump: Sequence[str], watch: Sequence[Watch] = ()
    ) -> RunResult:
        trace, self._trace = self._trace, None
        limit = self.max_cycles
        result = self.simulate(program, load=load, dump=dump, watch=watch, max_cycles=limit, trace=trace)
        return result.check()

    @override
    def trace_next(self, trace: Trace) -> None:
        assert isinstance(self.machine, Cluster)
        trace_arguments(trace, self.machine)  # an impossible trace is said before the run
        self._trace = trace
