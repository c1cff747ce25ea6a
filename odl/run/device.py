"""A network on its simulated device, behind the interface of `Net`.

The exact host library of the same project holds the training state; every call that computes goes to the simulator: state
and inputs are loaded into its memories before, state and results read from them afterwards.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from odl.check.canary import Canary, Words, compare
from odl.errors import InputError, OdlError, option
from odl.project.manifest import read_manifest
from odl.run.cluster import ClusterSimulator
from odl.run.emulator import QemuSimulator
from odl.run.gvsoc import GvsocSimulator
from odl.run.library import HostBuild, build_program
from odl.run.net import Net, value_from_manifest
from odl.run.simulator import Glimpse, Outcome, Simulator
from odl.targets.cv32e40p import Cluster, RunResult, Trace
from odl.targets.gvsoc.tools import find_gvsoc
from odl.targets.qemu import Machine
from odl.targets.qemu.tools import find_qemu

_CALLS = {"net_train_step": 0, "net_infer": 1, "net_accumulate": 2, "net_apply": 3, "net_refresh": 4}
_REQUEST = struct.Struct("<IIf")
#: Marks that device.c makes before and after the call, and the node number of a program's input.
BEGIN, END, INPUT_NODE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFF

#: Programs that a call runs, where the network has them.
_PROGRAMS = {
    "net_train_step": ("step", "apply"),
    "net_accumulate": ("step",),
    "net_apply": ("apply",),
    "net_infer": ("infer",),
    "net_refresh": ("refresh",),
}

Observer = Callable[[int, int], None]


class DeviceNet(Net):
    """A network whose steps run on a simulator. `count` is the calls' total, in `unit`."""

    def __init__(
        self,
        directory: Path,
        machine: Cluster | Machine | None = None,
        *,
        max_cycles: int = 2_000_000_000,
        unused: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Load the project in `directory`, building its library, its program and the simulator if needed.

        `machine` differs from the default in what the program does not depend on, such as a cluster's FPUs or the length of
        vector registers; `max_cycles` ends a call that never would. InputError when the project is for another target.
        """
        simulator = _simulator(directory, read_manifest(directory)["options"], machine, max_cycles)
        super().__init__(directory, HostBuild.EXACT, unused)
        self._host = self._lib
        self._device = _Device(self, simulator)
        self._lib = _Calls(self._host, self._device)

    @property
    def on_device(self) -> bool:
        """They do."""
        return True

    @property
    def simulator(self) -> Simulator:
        """What runs the calls."""
        return self._device.simulator

    @property
    def cluster(self) -> Cluster:
        """The simulated cluster. OdlError where the target is none."""
        return self._cluster_simulator().cluster

    @property
    def last(self) -> RunResult | None:
        """The cluster simulator's report of the latest call. OdlError where the target is no cluster."""
        return self._cluster_simulator().last

    def trace_next(self, trace: Trace) -> None:
        """Write a trace of the next call. InputError where the target has none, or the trace is impossible."""
        if not isinstance(self.simulator, ClusterSimulator):
            raise InputError(
                f"{trace.file}: target {self.manifest['options']['target']} writes no trace; cv32e40p does"
            )
        trace.simulator_arguments(self.simulator.cluster)
        self.simulator.trace = trace

    def _cluster_simulator(self) -> ClusterSimulator:
        if not isinstance(self.simulator, ClusterSimulator):
            raise OdlError(f"target {self.manifest['options']['target']} has no cluster")
        return self.simulator

    @property
    def unit(self) -> str:
        """What is counted: cycles or instructions; empty where nothing is."""
        return self.simulator.unit

    @property
    def count(self) -> int:
        """Cycles or instructions of all calls so far, each from its first to its last instruction."""
        return self._device.count

    @property
    def cycles(self) -> int:
        """The count where it is of cycles. OdlError where the simulator does not know any."""
        if self.unit != "cycles":
            raise OdlError(f"target {self.manifest['options']['target']} counts no cycles")
        return self._device.count

    @property
    def marks(self) -> tuple[tuple[int, int], ...]:
        """Every mark of the latest call, with the count at that moment."""
        return self._device.marks

    def canaries(self) -> tuple[Canary, ...]:
        """Planned against touched memory over all calls so far, those under `observed` excepted."""
        programs = {program for program in self._device.called for program in _PROGRAMS[program]}
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


def _simulator(
    directory: Path, options: Mapping[str, Any], machine: Cluster | Machine | None, max_cycles: int
) -> Simulator:
    """The simulator of a project's target, of the given machine or of the default one."""
    target, cores = options["target"], options["cores"]
    if options["runtime"] == "none":
        raise InputError(
            f"{directory} was compiled with {option('runtime', 'none')}; it runs where your port runs"
        )
    if target == "cv32e40p" and not isinstance(machine, Machine):
        return ClusterSimulator(machine or Cluster(cores=cores), max_cycles)
    if target == "qemu" and not isinstance(machine, Cluster):
        find_qemu()
        return QemuSimulator(replace(machine or Machine(), isa=options["isa"], harts=cores))
    if target == "gvsoc" and machine is None:
        find_gvsoc()
        return GvsocSimulator()
    wanted = "qemu" if isinstance(machine, Machine) else "cv32e40p"
    raise InputError(f"{directory} was compiled for '{target}'; compile it with {option('target', wanted)}")


@dataclass
class _Device:
    """Runs calls on the simulator and keeps the host library's memory in step."""

    net: DeviceNet
    simulator: Simulator
    observer: Observer | None = None
    marks: tuple[tuple[int, int], ...] = ()
    count: int = 0
    touched: dict[str, Words] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    _programs: dict[bool, Path] = field(default_factory=dict)

    def call(
        self, name: str, loads: dict[str, bytes], weighted: bool, outputs: tuple[str, ...]
    ) -> dict[str, bytes]:
        """Make one call; the state and the arena of the host library are the device's afterwards."""
        net, observed = self.net, self.observer is not None
        persistent = net.persistent_bytes
        blob = net.save()
        state, arena = blob[4 : len(blob) - persistent], blob[len(blob) - persistent :]
        glimpses = self._glimpses() if observed else {}
        outcome = self.simulator.call(
            self._program(observed),
            {
                "net_request": _REQUEST.pack(_CALLS[name], int(weighted), 0.0),
                "net_state": state,
                "net_arena": arena,
                **loads,
            },
            ["net_request", "net_state", "net_arena", *outputs],
            [glimpse for _, glimpse in glimpses.values()],
        )
        if not observed:  # publishing results touches more
            self.called.add(name)
            for memory, words in outcome.touched.items():
                self.touched[memory] = words | self.touched.get(memory, np.zeros(len(words), dtype=bool))
        self.marks = outcome.marks
        moments = dict(outcome.marks)
        self.count += moments[END] - moments[BEGIN]
        if self.observer is not None:
            self._replay(outcome, glimpses)
        net.load(blob[:4] + outcome.dumps["net_state"] + outcome.dumps["net_arena"][:persistent])
        return dict(outcome.dumps)

    def _program(self, observed: bool) -> Path:
        if observed not in self._programs:
            self._programs[observed] = build_program(self.net.directory, publish=observed)
        return self._programs[observed]

    def _glimpses(self) -> dict[tuple[int, int, int], tuple[dict[str, Any], Glimpse]]:
        """For each result of each kernel: its entry in the manifest, and the memory to see when it is made."""
        glimpses = {}
        for program, item in enumerate(self.net.manifest["programs"]):
            for node, entry in enumerate(item["nodes"]):
                for number, value in enumerate(entry["writes"]):
                    size = value_from_manifest(value).size_bytes
                    glimpse = Glimpse(program << 16 | node, value["memory"], value["offset"], size)
                    glimpses[(program, node, number)] = (value, glimpse)
        return glimpses

    def _replay(
        self, outcome: Outcome, glimpses: dict[tuple[int, int, int], tuple[dict[str, Any], Glimpse]]
    ) -> None:
        """Show the observer every result in the order in which the device made them."""
        assert self.observer is not None
        for mark, _ in outcome.marks:
            program, node = mark >> 16, mark & 0xFFFF
            if mark in (BEGIN, END) or node == INPUT_NODE:
                continue
            number = 0
            while (program, node, number) in glimpses:
                value, glimpse = glimpses[(program, node, number)]
                self.net.write(value["memory"], value["offset"], outcome.seen[glimpse][-1])
                number += 1
            self.observer(program, node)


class _Calls:
    """The host library's functions, those that compute replaced by calls on the device."""

    def __init__(self, host: Any, device: _Device) -> None:
        self._host, self._device = host, device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def _step(self, name: str, x: Any, target: Any, weight: Any) -> float:
        net = self._device.net
        loads = {"net_x": net.raw(x), "net_target": net.raw(target)}
        weighted = not net.is_null(weight)
        if weighted:
            loads["net_sample_weight"] = net.raw(weight)
        dumps = self._device.call(name, loads, weighted, ())
        return float(_REQUEST.unpack(dumps["net_request"])[2])

    def net_train_step(self, x: Any, target: Any, weight: Any) -> float:
        return self._step("net_train_step", x, target, weight)

    def net_accumulate(self, x: Any, target: Any, weight: Any) -> float:
        return self._step("net_accumulate", x, target, weight)

    def net_apply(self) -> None:
        self._device.call("net_apply", {}, False, ())

    def net_infer(self, x: Any, output: Any) -> None:
        net = self._device.net
        dumps = self._device.call("net_infer", {"net_x": net.raw(x)}, False, ("net_output",))
        net.fill(output, dumps["net_output"])
