"""manifest.json: what a tool needs to know about a generated project without reading its C."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from odl.errors import InputError
from odl.graph.ir import Value
from odl.graph.operator import AbstractOperator
from odl.plan.program import PlannedProgram
from odl.plan.report import memory_manifest
from odl.plan.traffic import local_place, traffic
from odl.plan.two_levels import LOCAL
from odl.project.network import Network
from odl.project.programs import INFER, STEP

_KEYS = ("spec", "options", "memory", "input", "output", "tensors", "counters", "programs", "state_bytes")
#: Version of the manifest's format.
FORMAT = 1


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of the project in `directory`; InputError when it is none or damaged."""
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


def is_manifest(found: object) -> bool:
    """Whether a JSON file's content is a manifest, of whatever release."""
    return isinstance(found, dict) and "odl" in found and isinstance(found.get("files"), list)


def manifest(
    network: Network, files: Sequence[str], functions: Sequence[Sequence[str]], state_bytes: int
) -> dict[str, Any]:
    """Memory, MACs, options, tensors with their addresses, and the programs' nodes in order.

    `functions` names, for each program, the C functions of its nodes that have a kernel.
    """
    schedule = network.schedule
    return {
        "odl": FORMAT,
        "model": network.name,
        "spec": network.spec,
        "options": network.options.as_json(),
        "macs": {
            "forward": network.macs(INFER),
            "step": network.macs(STEP),
        },
        "memory": memory_manifest(schedule.memories),
        "input": _value(network.input_value),
        "output": _value(network.output_value),
        "tensors": [{**_value(value), "offset": offset} for value, offset in schedule.persistent],
        "counters": [
            {"name": name, "value": int(array)}
            for name, array in network.initial.items()
            if _is_counter(name)
        ],
        "programs": [
            {
                "name": name.name,
                "nodes": [
                    {
                        "name": item.node.name,
                        "op": type(item.node.operator).__name__,
                        "pass": item.node.operator.pass_name,
                        "macs": item.macs,
                        "kernel": function,
                        "clamp": _clamp(item.node.operator),
                        **traffic(program, item.node),
                        "writes": [
                            {
                                **_value(program.graph.value(value)),
                                **_place(program, value, schedule.memory.memory),
                            }
                            for value in item.node.writes
                        ],
                    }
                    for item, function in zip(
                        (item for item in program.nodes if item.call is not None),
                        functions[index],
                        strict=True,
                    )
                ],
            }
            for index, (name, program) in enumerate(schedule.programs.items())
        ],
        "state_bytes": state_bytes,
        "files": list(files),
    }


def _place(program: PlannedProgram, value: str, arena: str) -> dict[str, Any]:
    """Where a value is when its node is done: in the arena, or in L1 where it never leaves that."""
    local = local_place(program, value)
    if local is not None:
        return {"memory": LOCAL, "offset": local}
    return {"memory": arena, "offset": program.offsets[value]}


def _clamp(operator: AbstractOperator) -> list[float | None] | None:
    """Limits of a forward activation (null where there is none), or null for a node without one."""
    low, high = getattr(operator, "low", -math.inf), getattr(operator, "high", math.inf)
    if operator.pass_name != "forward" or (low == -math.inf and high == math.inf):
        return None
    return [None if math.isinf(limit) else limit for limit in (low, high)]


def _value(value: Value) -> dict[str, Any]:
    return {
        "name": value.name,
        "source": value.source,
        "role": str(value.role),
        "shape": list(value.shape),
        "dtype": str(value.dtype),
        "layout": str(value.layout),
    }


def _is_counter(name: str) -> bool:
    """Batch norm's count of batches, which a state_dict holds and no kernel needs."""
    return name == "num_batches_tracked" or name.endswith(".num_batches_tracked")
