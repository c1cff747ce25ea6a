"""A network on its simulated device, behind the interface of `Net`.

The exact host library of the same project holds the training state; every call that computes goes to the simulator: state
and inputs are loaded into its memories before, state and results read from them afterwards.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from odl.check.canary import Canary, Words, compare
from odl.errors import InputError
from odl.run.library import HostBuild, build_program
from odl.run.net import Net, value_from_manifest
from odl.targets.cv32e40p import Cluster, RunResult, Watch, run
from odl.targets.pulp.elf import Elf

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
    """A network whose steps run on the simulator. `last` is what its latest call gave; `cycles` the calls' total."""

    def __init__(
        self,
        directory: Path,
        cluster: Cluster | None = None,
        *,
        max_cycles: int = 2_000_000_000,
        unused: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Load the project in `directory`, building its library, its program and the simulator if needed.

        `cluster` differs from the default in what the program does not depend on, such as FPUs; `max_cycles` ends a call
        that never would. InputError when the project is for another target.
        """
        super().__init__(directory, HostBuild.EXACT, unused)
        target, cores = (self.manifest["options"][key] for key in ("target", "cores"))
        if target != "cv32e40p":
            raise InputError(f"{directory} was compiled for '{target}'; compile it with --target cv32e40p")
        self._host = self._lib
        self._device = _Device(self, cluster or Cluster(cores=cores), max_cycles)
        self._lib = _Calls(self._host, self._device)

    @property
    def on_device(self) -> bool:
        """They do."""
        return True

    @property
    def cluster(self) -> Cluster:
        """The simulated machine."""
        return self._device.cluster

    @property
    def last(self) -> RunResult | None:
        """The simulator's report of the latest call."""
        return self._device.last

    @property
    def cycles(self) -> int:
        """Cycles of all calls so far, each from its first to its last instruction."""
        return self._device.cycles

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


@dataclass
class _Device:
    """Runs calls on the simulator and keeps the host library's memory in step."""

    net: DeviceNet
    cluster: Cluster
    max_cycles: int
    observer: Observer | None = None
    last: RunResult | None = None
    cycles: int = 0
    touched: dict[str, Words] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    _programs: dict[bool, Path] = field(default_factory=dict)

    def call(
        self, name: str, loads: dict[str, bytes], weighted: bool, outputs: tuple[str, ...]
    ) -> dict[str, bytes]:
        """Make one call; the state and the arena of the host library are the device's afterwards."""
        net, observed = self.net, self.observer is not None
        elf = self._program(observed)
        persistent = net.manifest["memory"]["l2"]["persistent_bytes"]
        blob = net.save()
        state, arena = blob[4 : len(blob) - persistent], blob[len(blob) - persistent :]
        watches = self._watches(Elf.read(elf)) if observed else {}
        result = run(
            elf,
            self.cluster,
            load={
                "net_request": _REQUEST.pack(_CALLS[name], int(weighted), 0.0),
                "net_state": state,
                "net_arena": arena,
                **loads,
            },
            dump=["net_request", "net_state", "net_arena", *outputs],
            max_cycles=self.max_cycles,
            watch=tuple(watch for _, watch in watches.values()) if observed else (),
        ).check()
        self.last = result
        if not observed:  # publishing results touches more
            self.called.add(name)
            self._note_touched(Elf.read(elf), result)
        marks = {mark.id: mark.cycle for mark in result.marks}
        self.cycles += marks[END] - marks[BEGIN]
        if self.observer is not None:
            self._replay(result, watches)
        net.load(blob[:4] + result.dumps["net_state"] + result.dumps["net_arena"][:persistent])
        return dict(result.dumps)

    def _note_touched(self, elf: Elf, result: RunResult) -> None:
        """Add the words of arena and L1 blocks that this call touched to those of the calls before."""
        for memory, name, base in (("l1", "net_l1", 0x10000000), ("l2", "net_arena", 0x1C000000)):
            symbol = elf.symbol(name)
            first = (symbol.address - base) // 4
            words = result.touched[memory][first : first + -(-symbol.size // 4)]
            self.touched[memory] = words | self.touched.get(memory, np.zeros(len(words), dtype=bool))

    def _program(self, observed: bool) -> Path:
        if observed not in self._programs:
            self._programs[observed] = build_program(self.net.directory, publish=observed)
        return self._programs[observed]

    def _watches(self, elf: Elf) -> dict[tuple[int, int, int], tuple[dict[str, Any], Watch]]:
        """For each result of each kernel: its entry in the manifest, and the memory to see when it is made."""
        bases = {"l1": elf.symbol("net_l1").address, "l2": elf.symbol("net_arena").address}
        watches = {}
        for program, item in enumerate(self.net.manifest["programs"]):
            for node, entry in enumerate(item["nodes"]):
                for number, value in enumerate(entry["writes"]):
                    mark = program << 16 | node
                    size = value_from_manifest(value).size_bytes
                    watch = Watch(mark, bases[value["memory"]] + value["offset"], size)
                    watches[(program, node, number)] = (value, watch)
        return watches

    def _replay(
        self, result: RunResult, watches: dict[tuple[int, int, int], tuple[dict[str, Any], Watch]]
    ) -> None:
        """Show the observer every result in the order in which the device made them."""
        assert self.observer is not None
        for mark in result.marks:
            program, node = mark.id >> 16, mark.id & 0xFFFF
            if mark.id in (BEGIN, END) or node == INPUT_NODE:
                continue
            number = 0
            while (program, node, number) in watches:
                value, watch = watches[(program, node, number)]
                self.net.write(value["memory"], value["offset"], result.watched[watch][-1])
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
