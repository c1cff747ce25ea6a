"""manifest.json: what a tool needs to know about a generated project without reading its C."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from odl.codegen.network import Network
from odl.graph.ir import Value
from odl.operators.base import Operator
from odl.options import Adam
from odl.plan.report import memory_manifest


def manifest(network: Network, files: Sequence[str], context: Mapping[str, Any]) -> dict[str, Any]:
    """Memory, MACs, options, tensors with their addresses, and the programs' nodes in order."""
    schedule, options = network.schedule, network.options
    step, infer = schedule.programs["step"], schedule.programs["infer"]
    optimizer = dataclasses.asdict(options.optimizer)
    return {
        "odl": 1,
        "model": network.name,
        "spec": network.spec,
        "options": {
            "target": options.target,
            "dtype": str(options.dtype),
            "cores": options.cores,
            "memory": options.memory,
            "update": options.update,
            "bn": options.bn,
            "loss": options.loss,
            "accumulate": options.accumulate,
            "loss_scale": options.loss_scale,
            "optimizer": {"name": "adam" if isinstance(options.optimizer, Adam) else "sgd", **optimizer},
        },
        "macs": {
            "forward": sum(item.macs for item in infer.nodes),
            "step": sum(item.macs for item in step.nodes),
        },
        "memory": memory_manifest({schedule.memory.memory: schedule.memory}),
        "input": _value(network.input_value),
        "output": _value(network.output_value),
        "tensors": [{**_value(value), "offset": offset} for value, offset in schedule.persistent],
        "programs": [
            {
                "name": name,
                "nodes": [
                    {
                        "name": item.node.name,
                        "op": type(item.node.operator).__name__,
                        "pass": item.node.operator.pass_name,
                        "macs": item.macs,
                        "kernel": kernel["function"],
                        "clamp": _clamp(item.node.operator),
                        "writes": [
                            {**_value(program.graph.value(value)), "offset": program.offsets[value]}
                            for value in item.node.writes
                        ],
                    }
                    for item, kernel in zip(
                        (item for item in program.nodes if item.call is not None),
                        context["programs"][index]["nodes"],
                        strict=True,
                    )
                ],
            }
            for index, (name, program) in enumerate(schedule.programs.items())
        ],
        "state_bytes": context["state_bytes"],
        "files": list(files),
    }


def _clamp(operator: Operator) -> list[float | None] | None:
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
