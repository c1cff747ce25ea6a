"""How a program's input gets from the caller's floats into the arena: in blocks, by way of L1."""

from __future__ import annotations

from dataclasses import dataclass

from odl.graph.ir import DType, Graph, Purpose, Role, Value
from odl.plan.buffers import Buffer, Placement

#: Elements of a block, at most: the first one is waited for, and each costs two barriers. ResNet8's 3,072 elements take
#: 1,600 cycles fewer in blocks of 512, and 900 more in one block (docs/tuning.md).
MOST_ELEMENTS = 2048
#: Elements of a block are a multiple of this: whole vectors for every core.
_UNIT = 16


@dataclass(frozen=True)
class Incoming:
    """Blocks of `elements`, one being converted while the next one comes: floats from byte 0, then converted ones."""

    elements: int
    floats_bytes: int
    converted_bytes: int


def incoming(value: Value, capacity: int) -> Incoming | None:
    """The blocks of an input that fit in `capacity` bytes of L1, None where not even small ones do."""
    each = DType.F32.bytes + value.dtype.bytes
    whole = -(-value.count // _UNIT) * _UNIT
    elements = min(MOST_ELEMENTS, whole, capacity // (2 * each) // _UNIT * _UNIT)
    if elements == 0:
        return None
    held = min(2 * elements, value.count)
    return Incoming(elements, held * DType.F32.bytes, held * value.dtype.bytes)


def place_incoming(program: str, graph: Graph, step: int, arena_bytes: int) -> list[Placement]:
    """The buffers of a program's input in L1, at the step before its first task.

    They lie within the bytes that the tasks need anyway.
    """
    placements = []
    for value in graph.values.values():
        if value.role is Role.INPUT and (blocks := incoming(value, arena_bytes)) is not None:
            sizes = {"floats": blocks.floats_bytes, "converted": blocks.converted_bytes}
            offset = 0
            for name, size in sizes.items():
                buffer = Buffer(f"{program}/{value.name}.{name}", size, Purpose.INPUTS, step, step)
                placements.append(Placement(buffer, offset))
                offset += size
    return placements
