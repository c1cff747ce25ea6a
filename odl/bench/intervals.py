"""Divides what a simulator counted in one call among the nodes of the network, by the marks between them.

A node's count runs from the mark before it to its own, barrier and mark included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from odl.run.device import BEGIN, END, INPUT_NODE, DeviceNet


@dataclass(frozen=True)
class Interval:
    """One node: what it is, and cycles or instructions."""

    name: str
    operator: str
    pass_name: str
    macs: int
    count: int


def intervals(net: DeviceNet) -> Iterator[Interval]:
    """The nodes of the latest call, in the order in which they ran."""
    before: int | None = None
    for mark, count in net.marks:
        if mark != BEGIN and before is not None:
            yield Interval(*_label(net, mark), count - before)
        before = count


def _label(net: DeviceNet, mark: int) -> tuple[str, str, str, int]:
    if mark == END:
        return "end", "stores", "other", 0
    program = net.manifest["programs"][mark >> 16]
    if mark & 0xFFFF == INPUT_NODE:
        return f"{program['name']}.input", "input", "other", 0
    node = program["nodes"][mark & 0xFFFF]
    return str(node["name"]), str(node["op"]), str(node["pass"]), int(node["macs"])
