"""manifest.json: what a tool needs to know about a generated project without reading its C, as typed values.

`read_manifest` reads a project's file; `Manifest.document` gives the JSON object that is to be written.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odl.errors import InputError, damaged
from odl.graph.ir import DType, Layout, Role, Value
from odl.options import Options
from odl.plan.buffers import UNUSED, MemoryPlan
from odl.project.state_format import VERSION, Meaning

_KEYS = (
    "prefix",
    "spec",
    "options",
    "memory",
    "input",
    "output",
    "tensors",
    "counters",
    "programs",
    "state_bytes",
    "state",
)
#: Version of the manifest's format.
FORMAT = 2
#: Keys that "by_purpose" always has, in order. Readers rely on "scratch" and "replay", which no buffer has.
_PURPOSES = (
    *("weights", "activations", "gradients", "optimizer", "statistics", "scratch", "inputs", "replay"),
    UNUSED,
)


@dataclass(frozen=True)
class TensorEntry:
    """A tensor with its place: the memory's name, and bytes from the beginning of the network's part of it."""

    value: Value
    memory: str
    offset: int


@dataclass(frozen=True)
class NodeEntry:
    """A node with a kernel. `operator` is its class, `kernel` the C function, `clamp` the limits of an activation.

    `operand_bytes`: of all its operands; `bytes_in`, `bytes_out`: what the DMA engine moves for it.
    """

    name: str
    operator: str
    pass_name: str
    macs: int
    kernel: str
    clamp: tuple[float, float] | None
    operand_bytes: int
    bytes_in: int
    bytes_out: int
    writes: tuple[TensorEntry, ...]


@dataclass(frozen=True)
class ProgramEntry:
    """A program; its number, and each node's, is the position in its tuple."""

    name: str
    nodes: tuple[NodeEntry, ...]


@dataclass(frozen=True)
class BufferEntry:
    """A buffer of a memory plan; a persistent one has no steps."""

    name: str
    purpose: str
    offset: int
    size_bytes: int
    first_step: int | None
    last_step: int | None


@dataclass(frozen=True)
class MemoryEntry:
    """A memory's plan. The bytes by purpose and the "unused" ones sum to `peak_bytes`."""

    peak_bytes: int
    by_purpose: Mapping[str, int]
    persistent_bytes: int
    capacity_bytes: int | None
    lower_bound_bytes: int
    peak_step: int
    buffers: tuple[BufferEntry, ...]

    @classmethod
    def of(cls, plan: MemoryPlan) -> MemoryEntry:
        """The entry of a plan, buffers by address."""
        return cls(
            plan.peak_bytes,
            {key: plan.by_purpose.get(key, 0) for key in _PURPOSES}
            | {key: size for key, size in plan.by_purpose.items() if size},
            plan.persistent_bytes,
            plan.capacity,
            plan.lower_bound_bytes,
            plan.peak_step,
            tuple(
                BufferEntry(
                    item.buffer.name,
                    str(item.buffer.purpose),
                    item.offset,
                    item.buffer.size_bytes,
                    None if item.buffer.persistent else item.buffer.first_step,
                    None if item.buffer.persistent else item.buffer.last_step,
                )
                for item in sorted(plan.placements, key=lambda item: (item.offset, item.buffer.first_step))
            ),
        )


@dataclass(frozen=True)
class StackEntry:
    """Bytes of stack that are proven to be enough (`odl stack`), for code that this compiler made of this build.

    `cores`: each core of the device's program; none where the project has no such program. `reserved`: what each core has.
    `entry_points`: a call of each function of the interface. `outside`: functions that are called and not part of the
    project, whose need comes on top. `through_pointers`: functions that call through a pointer; counted is every function
    of the project whose address is taken, so what the caller hands in comes on top too.
    """

    build: str
    compiler: str
    cores: tuple[int, ...]
    reserved: int | None
    entry_points: Mapping[str, int]
    outside: tuple[str, ...]
    through_pointers: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """What a project says of itself. `tensors` are those that outlive a call, `counters` batch norms' at compile time.

    `spec` is what the model can be made from again, None where it was a Python object. `stack` is None until `odl stack`
    proves it: that takes the device's compiler, which `odl compile` does without. `state_bytes`, `meaning` and `waiting`:
    size of a saved state, what it is a state of, and the gradients that it holds.
    """

    model: str
    prefix: str
    spec: str | None
    options: Options
    forward_macs: int
    step_macs: int
    memory: Mapping[str, MemoryEntry]
    input: Value
    output: Value
    tensors: tuple[TensorEntry, ...]
    counters: Mapping[str, int]
    programs: tuple[ProgramEntry, ...]
    state_bytes: int
    meaning: Meaning
    waiting: tuple[Value, ...]
    files: tuple[str, ...]
    stack: StackEntry | None = None

    @property
    def arena(self) -> str:
        """Name of the memory that holds all that outlives a call."""
        return self.options.description.arena.name

    @property
    def program_names(self) -> frozenset[str]:
        """The programs' names."""
        return frozenset(program.name for program in self.programs)

    def document(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "odl": FORMAT,
            "model": self.model,
            "prefix": self.prefix,
            "spec": self.spec,
            "options": self.options.as_json(),
            "macs": {"forward": self.forward_macs, "step": self.step_macs},
            "memory": {name: dataclasses.asdict(entry) for name, entry in self.memory.items()},
            "input": _value_document(self.input),
            "output": _value_document(self.output),
            "tensors": [{**_value_document(item.value), "offset": item.offset} for item in self.tensors],
            "counters": [{"name": name, "value": value} for name, value in self.counters.items()],
            "programs": [
                {"name": program.name, "nodes": [_node_document(node) for node in program.nodes]}
                for program in self.programs
            ],
            "state_bytes": self.state_bytes,
            "state": {
                "version": VERSION,
                "meaning": dataclasses.asdict(self.meaning),
                "waiting": [_value_document(value) for value in self.waiting],
            },
            "files": list(self.files),
            **({} if self.stack is None else {"stack": dataclasses.asdict(self.stack)}),
        }


def read_document(directory: Path) -> dict[str, Any]:
    """The JSON object of the project in `directory`; InputError when it is none or damaged."""
    file = directory / "manifest.json"
    again = "compile it again with odl compile -o"
    if directory.is_file():
        raise InputError(f"{directory} is a file; give the directory of a project that odl compile wrote")
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; make one with odl compile -o {directory}")
    if not file.is_file():
        raise InputError(
            f"{directory} is not an odl project (no manifest.json); make one with odl compile -o"
        )
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{file} cannot be read ({error}); {again}") from error
    if not is_manifest(found):
        raise InputError(f"{file} was not written by odl; make a project with odl compile -o")
    missing = [key for key in _KEYS if key not in found]
    if found["odl"] != FORMAT or missing:
        raise InputError(f"{file} is of another release of odl; {again}")
    return dict(found)


def read_manifest(directory: Path) -> Manifest:
    """The manifest of the project in `directory`; InputError when it is none or damaged."""
    return parse_document(read_document(directory), directory)


def parse_document(document: Mapping[str, Any], directory: Path) -> Manifest:
    """The manifest that a JSON object holds; InputError naming the directory where it is damaged."""
    try:
        return _manifest(document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(directory) from error


def is_manifest(found: object) -> bool:
    """Whether a JSON file's content is a manifest, of whatever release."""
    return isinstance(found, dict) and "odl" in found and isinstance(found.get("files"), list)


# ---------------------------------------------------------------------------------------------- writing entries
def _value_document(value: Value) -> dict[str, Any]:
    return {
        "name": value.name,
        "source": value.source,
        "role": str(value.role),
        "shape": list(value.shape),
        "dtype": str(value.dtype),
        "layout": str(value.layout),
    }


def _node_document(node: NodeEntry) -> dict[str, Any]:
    clamp = node.clamp and [None if math.isinf(limit) else limit for limit in node.clamp]
    return {
        "name": node.name,
        "op": node.operator,
        "pass": node.pass_name,
        "macs": node.macs,
        "kernel": node.kernel,
        "clamp": clamp,
        "operand_bytes": node.operand_bytes,
        "bytes_in": node.bytes_in,
        "bytes_out": node.bytes_out,
        "writes": [
            {**_value_document(item.value), "memory": item.memory, "offset": item.offset}
            for item in node.writes
        ],
    }


# ---------------------------------------------------------------------------------------------- reading entries
def _manifest(document: Mapping[str, Any]) -> Manifest:
    options = Options.of(document["options"])
    return Manifest(
        document["model"],
        document["prefix"],
        document["spec"],
        options,
        int(document["macs"]["forward"]),
        int(document["macs"]["step"]),
        {name: _memory(entry) for name, entry in document["memory"].items()},
        _value(document["input"]),
        _value(document["output"]),
        tuple(_tensor({"memory": options.description.arena.name, **entry}) for entry in document["tensors"]),
        {str(entry["name"]): int(entry["value"]) for entry in document["counters"]},
        tuple(
            ProgramEntry(entry["name"], tuple(_node(node) for node in entry["nodes"]))
            for entry in document["programs"]
        ),
        int(document["state_bytes"]),
        Meaning(**document["state"]["meaning"]),
        tuple(_value(entry) for entry in document["state"]["waiting"]),
        tuple(document["files"]),
        _stack(document["stack"]) if "stack" in document else None,
    )


def _stack(entry: Mapping[str, Any]) -> StackEntry:
    lists = {name: tuple(entry[name]) for name in ("cores", "outside", "through_pointers")}
    return StackEntry(**{**entry, **lists})


def _memory(entry: Mapping[str, Any]) -> MemoryEntry:
    return MemoryEntry(**{**entry, "buffers": tuple(BufferEntry(**item) for item in entry["buffers"])})


def _value(entry: Mapping[str, Any]) -> Value:
    return Value(
        entry["name"],
        tuple(entry["shape"]),
        Role(entry["role"]),
        DType(entry["dtype"]),
        Layout(entry["layout"]),
        entry["source"],
    )


def _tensor(entry: Mapping[str, Any]) -> TensorEntry:
    return TensorEntry(_value(entry), entry["memory"], int(entry["offset"]))


def _node(entry: Mapping[str, Any]) -> NodeEntry:
    clamp = None
    if entry["clamp"] is not None:
        low, high = entry["clamp"]
        clamp = (-math.inf if low is None else low, math.inf if high is None else high)
    return NodeEntry(
        entry["name"],
        entry["op"],
        entry["pass"],
        int(entry["macs"]),
        entry["kernel"],
        clamp,
        int(entry["operand_bytes"]),
        int(entry["bytes_in"]),
        int(entry["bytes_out"]),
        tuple(_tensor(item) for item in entry["writes"]),
    )
