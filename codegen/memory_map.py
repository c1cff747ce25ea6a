"""Where a network's variables lie: its sections, as `<prefix>_memory.h` and the sources name them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from odl.codegen.texts import ShapeText
from odl.plan.buffers import MemoryPlan
from odl.plan.program import Schedule
from odl.plan.staging import AHEAD

WORD = 4
#: Default size of the buffer that saved states go through.
BUFFER_BYTES = 256
#: Numbers of words besides pointers in what a call notes, and of pointers in it.
_CALL_WORDS, _CALL_POINTERS = 7, 3
_ANY, _CONSTANT = "any", "flash or any"


@dataclass(frozen=True)
class Section:
    """Variables that are placed together: `<PREFIX>_SECTION_<name>` is their attribute, and has its `default`.

    `bytes` where pointers have 32 bits, `wide_bytes` where they have 64. `memory` says where it lies unless a user places
    it elsewhere; `constant`: nobody writes it. `bytes_macro`: what a user sets the bytes by, without the prefix.
    """

    name: str
    variable: str
    bytes: int
    memory: str
    holds: str
    default: str = ""
    wide_bytes: int | None = None
    constant: bool = False
    bytes_macro: str | None = None


def sections(
    prefix: str,
    schedule: Schedule,
    shapes: Sequence[ShapeText],
    state_words: int,
    image_bytes: int,
    pointers: int,
    words: int,
) -> list[Section]:
    """The sections of a network, the largest concern first.

    `state_words`: words of the training state besides tensors; `pointers` and `words`: those that a call notes besides
    what every call notes.
    """
    pointers += _CALL_POINTERS
    words += _CALL_WORDS
    shape_bytes = sum(WORD * len(shape.fields) for shape in shapes)
    local = schedule.local
    found = [
        Section(
            "ARENA",
            f"{prefix}_arena",
            schedule.memory.arena_bytes,
            schedule.memory.memory,
            "tensors, those that outlive a call in front",
        )
    ]
    if local is not None:
        found += [
            Section(
                "L1",
                f"{prefix}_l1",
                local.arena_bytes,
                local.memory,
                "what the cores work on during a call",
                "ODL_L1",
            ),
            Section(
                "TRANSFERS",
                "fetches, stores",
                WORD * (AHEAD + 2),
                local.memory,
                "which transfers are under way",
                "ODL_L1",
            ),
        ]
    if shapes:
        beside = local is not None
        found.append(
            Section(
                "SHAPES",
                "*_shape_*",
                shape_bytes,
                _CONSTANT if local is None else local.memory,
                "the sizes that kernels are called with",
                "ODL_L1_DATA" if beside else "",
                constant=True,
            )
        )
    return [
        *found,
        Section("STATE", f"{prefix}_state", WORD * state_words, _ANY, "training state besides tensors"),
        Section(
            "CALL",
            "given",
            WORD * (pointers + words),
            _ANY if local is None else local.memory,
            "what a call was given and found",
            "" if local is None else "ODL_L1",
            wide_bytes=2 * WORD * (pointers + (words + 1) // 2),
        ),
        Section(
            "BUFFER",
            "buffer",
            BUFFER_BYTES,
            _ANY,
            "what a saved state is read and written by",
            bytes_macro="STATE_BUFFER_BYTES",
        ),
        Section(
            "WEIGHTS",
            f"{prefix}_initial",
            max(image_bytes, WORD),
            _CONSTANT,
            f"the tensors that {prefix}_init starts with",
            constant=True,
        ),
    ]


def table(prefix: str, found: Iterable[Section]) -> list[str]:
    """The sections as lines of a comment, in columns."""
    rows = [("section", "variable", "bytes", "memory", "holds")]
    for item in found:
        size = f"{item.bytes:,}" + (f" ({item.wide_bytes:,})" if item.wide_bytes is not None else "")
        kind = "constant" if item.constant else "written"
        rows.append((item.name, item.variable, size, f"{item.memory}, {kind}", item.holds))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            text.rjust(width) if column == 2 else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def kept(plan: MemoryPlan) -> str:
    """What of an arena outlives a call, by purpose."""
    found: Counter[str] = Counter()
    for item in plan.placements:
        if item.buffer.persistent:
            found[str(item.buffer.purpose)] += item.buffer.size_bytes
    listed = ", ".join(f"{purpose} {size:,}" for purpose, size in found.items())
    return f"{plan.persistent_bytes:,} bytes ({listed})"
