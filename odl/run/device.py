"""A network on its simulated device, behind the interface of `Net`.

The exact host library of the same project holds the training state; every call that computes goes to the simulator: state
and inputs are loaded into its memories before, state and results read from them afterwards.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from typing_extensions import override

from odl.errors import InputError, OdlError, option
from odl.options import Options
from odl.project.entry_point import LOSS, OUTPUT, SAMPLE_WEIGHT, CType, EntryPoint
from odl.project.entry_points import NUMBERED
from odl.project.manifest import TensorEntry, read_manifest
from odl.run.canary import Canary, Words, compare
from odl.run.library import ProjectBuild, build_program
from odl.run.net import Net
from odl.targets import TARGETS
from odl.targets.common.elf import Elf
from odl.targets.common.session import Mark, RunResult, Session, Trace, Unit, Watch
from odl.targets.target import DeviceTarget, Target

_REQUEST = struct.Struct("<IIIf")
#: Marks that device.c makes before and after the call, and the node number of a program's input.
BEGIN, END, INPUT_NODE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFF

#: The functions that a device computes, by their names without the prefix.
_COMPUTING = {item.name: item for item in NUMBERED.values()}

Observer = Callable[[int, int], None]
#: By program, node and number: a result's entry in the manifest, and where and when to see it.
_Results = dict[tuple[int, int, int], tuple[TensorEntry, Watch]]


class DeviceNet(Net):
    """A network whose steps run on a simulator. `count` is the calls' total, in `unit`."""

    def __init__(
        self,
        directory: Path,
        machine: Any = None,
        *,
        unused: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Load the project in `directory`, building its library, its program and the simulator if needed.

        `machine` describes another machine than the target's default one, in what the program does not depend on, such as
        a cluster's FPUs or the length of vector registers. InputError when the project is for another target.
        """
        #: The project's target, with the instruction set that the project is for, and what runs the calls.
        self.target, self.session = _session(directory, read_manifest(directory).options, machine)
        super().__init__(directory, ProjectBuild.EXACT, unused)
        self._lib = _Calls(self._host, self._run_on_device)
        #: The simulator's report of the latest call.
        self.last: RunResult | None = None
        #: Cycles or instructions of all calls so far, each from its first to its last instruction.
        self.count = 0
        self._observer: Observer | None = None
        self._touched: dict[str, Words] = {}
        self._called: set[EntryPoint] = set()
        self._programs: dict[bool, Path] = {}

    @property
    @override
    def on_device(self) -> bool:
        return True

    def trace_next(self, trace: Trace) -> None:
        """Write a trace of the next call. InputError where the target has none, or the trace is impossible."""
        if not self.target.traces:
            tracing = " or ".join(target.name for target in TARGETS.values() if target.traces)
            raise InputError(f"{trace.file}: target {self.target.name} writes no trace; {tracing} does")
        self.session.trace_next(trace)

    @property
    def unit(self) -> Unit:
        """What is counted."""
        return self.session.unit

    @property
    def cycles(self) -> int:
        """The count where it is of cycles. OdlError where the simulator does not know any."""
        if self.unit is not Unit.CYCLES:
            raise OdlError(f"target {self.target.name} counts no cycles")
        return self.count

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Every mark of the latest call, in order."""
        return () if self.last is None else self.last.marks

    def canaries(self) -> tuple[Canary, ...]:
        """Planned against touched memory over all calls so far, those under `observed` excepted."""
        programs = {program.name for called in self._called for program in called.runs}
        plans = self.manifest["memory"]
        return tuple(
            compare(memory, plans[memory], programs, touched) for memory, touched in self._touched.items()
        )

    @contextmanager
    def observed(self, callback: Observer) -> Iterator[None]:
        """Call back, after a call, for every kernel of it; `result` then gives what that kernel wrote."""
        self._observer = callback
        try:
            yield
        finally:
            self._observer = None

    # --- between the host library and the device -----------------------------------------------------------

    def _run_on_device(self, entry_point: EntryPoint, *arguments: Any) -> int:
        """Run an entry point with C arguments; its status."""
        loads: dict[str, bytes] = {}
        outputs: dict[str, Any] = {}
        weighted, loss = False, self._ffi.NULL
        for parameter, argument in zip(entry_point.parameters, arguments, strict=True):
            if parameter is OUTPUT or parameter.type in (CType.HASH_OUT, CType.COUNT_OUT):
                outputs[self._symbol(parameter.name)] = argument
            elif parameter is LOSS:
                loss = argument
            elif isinstance(argument, int | float):
                form = "<f" if parameter.type is CType.FLOAT else "<I"
                loads[self._symbol(parameter.name)] = struct.pack(form, argument)
            elif argument != self._ffi.NULL:
                loads[self._symbol(parameter.name)] = bytes(self._ffi.buffer(argument))
                weighted = weighted or parameter is SAMPLE_WEIGHT
        dumps = self._simulate(entry_point, loads, weighted, outputs)
        for symbol, floats in outputs.items():
            self._ffi.buffer(floats)[:] = dumps[symbol]
        _, _, status, found = _REQUEST.unpack(dumps[self._symbol("request")])
        if loss != self._ffi.NULL:
            loss[0] = found
        return int(status)

    def _simulate(
        self, entry_point: EntryPoint, loads: dict[str, bytes], weighted: bool, outputs: Collection[str]
    ) -> dict[str, bytes]:
        """Make one call; the state and the arena of the host library are the device's afterwards."""
        observed = self._observer is not None
        persistent = self.persistent_bytes
        program = self._program(observed)
        elf = Elf.read(program)
        results = self._results(elf) if observed else {}
        self.last = result = self.session.run(
            program,
            {
                self._symbol("request"): _REQUEST.pack(entry_point.number, int(weighted), 0, math.nan),
                self._symbol("state"): bytes(self._words),
                self._symbol("arena"): bytes(self._arena[:persistent]),
                **loads,
            },
            [self._symbol("request"), self._symbol("state"), self._symbol("arena"), *outputs],
            [watch for _, watch in results.values()],
        )
        if not observed:  # publishing results touches more
            self._called.add(entry_point)
            for memory in result.touched:
                words = self._own_words(elf, result, memory)
                self._touched[memory] = words | self._touched.get(memory, np.zeros(len(words), dtype=bool))
        moments = {mark.id: mark.count for mark in result.marks}
        self.count += moments[END] - moments[BEGIN]
        if self._observer is not None:
            self._replay(result, results)
        self._words[:] = result.dumps[self._symbol("state")]
        self._arena[:persistent] = result.dumps[self._symbol("arena")][:persistent]
        return dict(result.dumps)

    def _symbol(self, name: str) -> str:
        """A variable of the program by its name without the prefix."""
        return f"{self.project.prefix}_{name}"

    def _symbols(self) -> dict[str, str]:
        """The variable that holds the network's part of each memory."""
        symbols = {self.target.arena.name: self._symbol("arena")}
        return (
            symbols if self.target.local is None else {self.target.local.name: self._symbol("l1")} | symbols
        )

    def _own_words(self, elf: Elf, result: RunResult, name: str) -> Words:
        """Words of the network's own part of a memory that the run touched."""
        memory = next(memory for memory in self.target.memories if memory.name == name)
        symbol = elf.symbol(self._symbols()[name])
        first = (symbol.address - memory.origin) // 4
        words: Words = result.touched[name][first : first + -(-symbol.size // 4)]
        return words

    def _program(self, observed: bool) -> Path:
        if observed not in self._programs:
            self._programs[observed] = build_program(self.directory, publish=observed)
        return self._programs[observed]

    def _results(self, elf: Elf) -> _Results:
        """For each result of each kernel: its entry in the manifest, and the memory to see when it is made."""
        base = {memory: elf.symbol(name).address for memory, name in self._symbols().items()}
        results = {}
        for program, item in enumerate(self.project.programs):
            for node, entry in enumerate(item.nodes):
                for number, value in enumerate(entry.writes):
                    place = base[value.memory] + value.offset
                    watch = Watch(program << 16 | node, place, value.value.size_bytes)
                    results[(program, node, number)] = (value, watch)
        return results

    def _replay(self, result: RunResult, results: _Results) -> None:
        """Show the observer every result in the order in which the device made them."""
        assert self._observer is not None
        for mark in result.marks:
            program, node = mark.id >> 16, mark.id & 0xFFFF
            if mark.id in (BEGIN, END) or node == INPUT_NODE:
                continue
            number = 0
            while (program, node, number) in results:
                value, watch = results[(program, node, number)]
                data = result.watched[watch][-1]
                self._memories[value.memory][value.offset : value.offset + len(data)] = data
                number += 1
            self._observer(program, node)


def _session(directory: Path, options: Options, machine: Any) -> tuple[Target, Session]:
    """A project's target, and a session on the given machine or the default one."""
    target = options.description
    if options.runtime == "none":
        raise InputError(
            f"{directory} was compiled with {option('runtime', 'none')}; it runs where your port runs"
        )
    if not isinstance(target, DeviceTarget) or (
        machine is not None and type(machine) is not target.machine_type
    ):
        fitting = (
            other for other in TARGETS.values() if machine is None or other.machine_type is type(machine)
        )
        wanted = [other.name for other in fitting if not other.is_host]
        raise InputError(
            f"{directory} was compiled for '{target.name}'; compile it with {option('target', *wanted)}"
        )
    return target, target.session(options.core_count, machine)


class _Calls:
    """The host library's functions, those that compute replaced by calls on the device."""

    def __init__(self, host: Any, run: Callable[..., int]) -> None:
        self._host, self._run = host, run

    def __getattr__(self, name: str) -> Any:
        entry_point = _COMPUTING.get(name)
        return getattr(self._host, name) if entry_point is None else partial(self._run, entry_point)
