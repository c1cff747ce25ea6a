"""What the templates of saved states see: the tables of tensors and words, and the meaning, of one network."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from odl.codegen.names import comment_text
from odl.graph.ir import Value
from odl.project import state_format
from odl.project.network import Network
from odl.project.state import (
    Counter,
    SavedTensor,
    changeable,
    counters,
    saved_offsets,
    saved_tensors,
    saved_words,
    waiting_gradients,
)
from odl.project.state_format import WORD, record_bytes, total_bytes


@dataclass(frozen=True)
class TensorText:
    """A row of the table of tensors. Element (i, j, k) of the record is i, j and k times the strides from the offset."""

    name: str
    id: int
    offset: int
    extents: Sequence[int]
    strides: Sequence[int]
    type: str
    needed: str
    waits: str


@dataclass(frozen=True)
class WordText:
    """A row of the table of words; `initial` is the bits that it starts with."""

    id: int
    name: str
    initial: int


@dataclass(frozen=True)
class StateText:
    """All that the C of a network's saved states says of it; `bytes` of a state whose unit is one word."""

    counters: Sequence[Counter]
    tensors: Sequence[TensorText]
    words: Sequence[WordText]
    waiting: int
    accumulated_id: int
    meaning: Mapping[str, int]
    changeable: Sequence[str]
    crc_table: Sequence[str]
    round_constants: Sequence[str]
    bytes: int


def state_text(network: Network) -> StateText:
    """The text of a planned network."""
    options, schedule = network.options, network.schedule
    values = [value for value, _ in schedule.persistent]
    tensors = saved_tensors([*values, *waiting_gradients(schedule, options)], options)
    offsets, words = saved_offsets(schedule, options), saved_words(options)
    records = [record_bytes(item.value.dtype.bytes, item.value.count) for item in tensors]
    return StateText(
        counters(options),
        [_tensor(item, offsets[item.value.name]) for item in tensors],
        [WordText(item.id, item.name, item.to_bits(item.initial)) for item in words],
        sum(item.waits for item in tensors),
        next(item.id for item in words if item.name == "accumulated"),
        {part.upper(): number for part, number in asdict(network.meaning).items()},
        changeable(options),
        [f"0x{entry:08x}u" for entry in _crc_table()],
        [f"0x{entry:08x}u" for entry in _round_constants()],
        total_bytes(sum(records) + record_bytes(2 * WORD, len(words))),
    )


def format_names() -> dict[str, object]:
    """The format's constants by name."""
    return {name: value for name, value in vars(state_format).items() if not name.startswith("_")}


def _tensor(item: SavedTensor, offset: int) -> TensorText:
    extents, strides = _walk(item.value)
    return TensorText(
        comment_text(item.value.name),
        item.id,
        offset,
        extents,
        strides,
        item.value.dtype.name,
        _c(item.needed),
        _c(item.waits),
    )


def _walk(value: Value) -> tuple[list[int], list[int]]:
    """Three extents and strides that reach a tensor's elements in PyTorch's order, neighbouring axes taken as one."""
    axes = value.layout.permutation(len(value.shape))
    strides, step = dict[int, int](), 1
    for axis in reversed(axes):
        strides[axis] = step
        step *= value.shape[axis]
    merged: list[tuple[int, int]] = []
    for axis, size in enumerate(value.shape):
        if size == 1:
            continue
        if merged and merged[-1][1] == strides[axis] * size:
            merged[-1] = (merged[-1][0] * size, strides[axis])
        else:
            merged.append((size, strides[axis]))
    merged = [(1, 0)] * (3 - len(merged)) + merged
    assert len(merged) == 3, f"no layout splits {value.name} into more than three groups of axes"
    return [size for size, _ in merged], [stride for _, stride in merged]


def _crc_table() -> Iterator[int]:
    """What four bits do to the CRC's register."""
    for nibble in range(16):
        register = nibble
        for _ in range(4):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
        yield register


def _round_constants() -> Iterator[int]:
    """SHA-256's constants (FIPS 180-4, section 4.2.2): 32 bits behind the point of the first 64 primes' cube roots."""
    primes = (number for number in itertools.count(2) if all(number % factor for factor in range(2, number)))
    for prime in itertools.islice(primes, 64):
        scaled, root = prime << 96, 0
        for bit in reversed(range(36)):
            if (root | 1 << bit) ** 3 <= scaled:
                root |= 1 << bit
        yield root & 0xFFFFFFFF


def _c(truth: bool) -> str:
    return "true" if truth else "false"
