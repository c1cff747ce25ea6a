"""A network on its simulated device, behind the interface of `Net`.

The exact host library of the same project holds the training state; every call that computes goes to the simulator: state
and inputs are loaded into its memories before, state and results read from them afterwards.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from odl.errors import InputError, OdlError, option
from odl.options import Options
from odl.project.entry_point import OUTPUT, SAMPLE_WEIGHT, CType, EntryPoint
from odl.project.entry_points import NUMBERED
from odl.project.manifest import TensorEntry, read_manifest
from odl.run.canary import Canary, Words, compare
from odl.run.library import ProjectBuild, build_program
from odl.run.net import Net
from odl.targets import TARGETS
from odl.targets.common.elf import Elf
from odl.targets.common.session import Mark, RunResult, Session, Trace, Unit, Watch
from odl.targets.target import Target

_REQUEST = struct.Struct("<IIf")
#: Marks that device.c makes before and after the call, and the node number of a program's input.
BEGIN, END, INPUT_NODE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFF

#: The functions that a device computes, by their names in C.
_COMPUTING = {item.function: item for item in NUMBERED.values()}

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
        target, session = _session(directory, read_manifest(directory).options, machine)
        super().__init__(directory, ProjectBuild.EXACT, unused)
        self._host = self._lib
        self._device = _Device(self, target, session)
        self._lib = _Calls(self._host, self._device)

    @property
    def on_device(self) -> bool:
        """They do."""
        return True

    @property
    def target(self) -> Target:
        """The project's target, with the instruction set that the project is for."""
        return self._device.target

    @property
    def session(self) -> Session:
        """What runs the calls."""
        return self._device.session

    @property
    def last(self) -> RunResult | None:
        """The simulator's report of the latest call."""
        return self._device.last

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
    def count(self) -> int:
        """Cycles or instructions of all calls so far, each from its first to its last instruction."""
        return self._device.count

    @property
    def cycles(self) -> int:
        """The count where it is of cycles. OdlError where the simulator does not know any."""
        if self.unit is not Unit.CYCLES:
            raise OdlError(f"target {self.target.name} counts no cycles")
        return self._device.count

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Every mark of the latest call, in order."""
        return () if self.last is None else self.last.marks

    def canaries(self) -> tuple[Canary, ...]:
        """Planned against touched memory over all calls so far, those under `observed` excepted."""
        programs = {program.name for called in self._device.called for program in called.runs}
        plans = self.manifest["memory"]
        return tuple(
            compare(memory, plans[memory], programs, touched)
            for memory, touched in self._device.touched.items()
        )

    @contextmanager
    def observed(self, callback: Observer) -> Iterator[None]:
        """Call back, after a call, for every kernel of it; `result` then gives what that kernel wrote."""
        self._device.observer = callback
        try:
            yield
        finally:
            self._device.observer = None

    # --- between the host library and the device -----------------------------------------------------------

    def write(self, memory: str, offset: int, data: bytes) -> None:
        """Put the device's bytes into the host library's memory."""
        self._memories[memory][offset : offset + len(data)] = data

    def raw(self, floats: Any) -> bytes:
        """The bytes of a C array of floats."""
        return bytes(self._ffi.buffer(floats))

    def fill(self, floats: Any, data: bytes) -> None:
        """Overwrite a C array of floats."""
        self._ffi.buffer(floats)[:] = data

    def is_null(self, pointer: Any) -> bool:
        """Whether a C pointer is NULL."""
        return bool(pointer == self._ffi.NULL)


def _session(directory: Path, options: Options, machine: Any) -> tuple[Target, Session]:
    """A project's target, and a session on the given machine or the default one."""
    target = options.description
    if options.runtime == "none":
        raise InputError(
            f"{directory} was compiled with {option('runtime', 'none')}; it runs where your port runs"
        )
    if machine is not None and type(machine) is not target.machine_type:
        wanted = [other.name for other in TARGETS.values() if other.machine_type is type(machine)]
        raise InputError(
            f"{directory} was compiled for '{target.name}'; compile it with {option('target', *wanted)}"
        )
    return target, target.session(options.core_count, machine)


@dataclass
class _Device:
    """Runs calls on the simulator and keeps the host library's memory in step."""

    net: DeviceNet
    target: Target
    session: Session
    observer: Observer | None = None
    last: RunResult | None = None
    count: int = 0
    touched: dict[str, Words] = field(default_factory=dict)
    called: set[EntryPoint] = field(default_factory=set)
    _programs: dict[bool, Path] = field(default_factory=dict)

    def call(
        self, entry_point: EntryPoint, loads: dict[str, bytes], weighted: bool, outputs: Collection[str]
    ) -> dict[str, bytes]:
        """Make one call; the state and the arena of the host library are the device's afterwards."""
        net, observed = self.net, self.observer is not None
        persistent = net.persistent_bytes
        blob = net.save()
        state, arena = blob[4 : len(blob) - persistent], blob[len(blob) - persistent :]
        program = self._program(observed)
        elf = Elf.read(program)
        results = self._results(elf) if observed else {}
        self.last = result = self.session.run(
            program,
            {
                "net_request": _REQUEST.pack(entry_point.number, int(weighted), 0.0),
                "net_state": state,
                "net_arena": arena,
                **loads,
            },
            ["net_request", "net_state", "net_arena", *outputs],
            [watch for _, watch in results.values()],
        )
        if not observed:  # publishing results touches more
            self.called.add(entry_point)
            for memory in result.touched:
                words = self._own_words(elf, result, memory)
                self.touched[memory] = words | self.touched.get(memory, np.zeros(len(words), dtype=bool))
        moments = {mark.id: mark.count for mark in result.marks}
        self.count += moments[END] - moments[BEGIN]
        if self.observer is not None:
            self._replay(result, results)
        net.load(blob[:4] + result.dumps["net_state"] + result.dumps["net_arena"][:persistent])
        return dict(result.dumps)

    def _symbols(self) -> dict[str, str]:
        """The variable that holds the network's part of each memory."""
        symbols = {self.target.arena.name: "net_arena"}
        return symbols if self.target.local is None else {self.target.local.name: "net_l1"} | symbols

    def _own_words(self, elf: Elf, result: RunResult, name: str) -> Words:
        """Words of the network's own part of a memory that the run touched."""
        memory = next(memory for memory in self.target.memories if memory.name == name)
        symbol = elf.symbol(self._symbols()[name])
        first = (symbol.address - memory.origin) // 4
        words: Words = result.touched[name][first : first + -(-symbol.size // 4)]
        return words

    def _program(self, observed: bool) -> Path:
        if observed not in self._programs:
            self._programs[observed] = build_program(self.net.directory, publish=observed)
        return self._programs[observed]

    def _results(self, elf: Elf) -> _Results:
        """For each result of each kernel: its entry in the manifest, and the memory to see when it is made."""
        base = {memory: elf.symbol(name).address for memory, name in self._symbols().items()}
        results = {}
        for program, item in enumerate(self.net.project.programs):
            for node, entry in enumerate(item.nodes):
                for number, value in enumerate(entry.writes):
                    place = base[value.memory] + value.offset
                    watch = Watch(program << 16 | node, place, value.value.size_bytes)
                    results[(program, node, number)] = (value, watch)
        return results

    def _replay(self, result: RunResult, results: _Results) -> None:
        """Show the observer every result in the order in which the device made them."""
        assert self.observer is not None
        for mark in result.marks:
            program, node = mark.id >> 16, mark.id & 0xFFFF
            if mark.id in (BEGIN, END) or node == INPUT_NODE:
                continue
            number = 0
            while (program, node, number) in results:
                value, watch = results[(program, node, number)]
                self.net.write(value.memory, value.offset, result.watched[watch][-1])
                number += 1
            self.observer(program, node)


class _Calls:
    """The host library's functions, those that compute replaced by calls on the device."""

    def __init__(self, host: Any, device: _Device) -> None:
        self._host, self._device = host, device

    def __getattr__(self, name: str) -> Any:
        entry_point = _COMPUTING.get(name)
        return getattr(self._host, name) if entry_point is None else partial(self._call, entry_point)

    def _call(self, entry_point: EntryPoint, *arguments: Any) -> float | None:
        net = self._device.net
        loads: dict[str, bytes] = {}
        outputs: dict[str, Any] = {}
        weighted = False
        for parameter, argument in zip(entry_point.parameters, arguments, strict=True):
            if parameter is OUTPUT:
                outputs[parameter.symbol] = argument
            elif not net.is_null(argument):
                loads[parameter.symbol] = net.raw(argument)
                weighted = weighted or parameter is SAMPLE_WEIGHT
        dumps = self._device.call(entry_point, loads, weighted, outputs)
        for symbol, floats in outputs.items():
            net.fill(floats, dumps[symbol])
        loss: float = _REQUEST.unpack(dumps["net_request"])[2]
        return loss if entry_point.returns is CType.FLOAT else None
