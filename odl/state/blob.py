"""Saved training states as bytes, and as what the bytes say; knows the format, but no network."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass

from odl.errors import InputError
from odl.graph.ir import DType
from odl.project.state_format import (
    DTYPES,
    HEADER_BYTES,
    MAGIC,
    MARK,
    PAIRS,
    RECORD_BYTES,
    VERSION,
    WORD,
    WORDS_ID,
    Header,
    Meaning,
    crc32,
    digest,
    pack,
    round_up,
    stated_bytes,
    total_bytes,
)


@dataclass(frozen=True)
class Record:
    """A tensor: its id, the type of its elements, and these in PyTorch's order, little-endian."""

    id: int
    dtype: DType
    data: bytes

    @property
    def count(self) -> int:
        """Number of elements."""
        return len(self.data) // self.dtype.bytes


@dataclass(frozen=True)
class Blob:
    """A whole saved state. `words`: bits by id; `unit`: bytes that its mark takes."""

    meaning: Meaning
    records: tuple[Record, ...]
    words: Mapping[int, int]
    generation: int = 0
    unit: int = WORD

    @property
    def digest(self) -> bytes:
        """What the device's `<prefix>_digest` gives of it."""
        return digest(pack(*astuple(self.meaning)), self._body())

    def _body(self) -> bytes:
        """The records, in their order."""
        parts = {
            item.id: _record(item.id, DTYPES[item.dtype], item.count, item.data) for item in self.records
        }
        pairs = [number for pair in sorted(self.words.items()) for number in pair]
        parts[WORDS_ID] = _record(WORDS_ID, PAIRS, len(self.words), pack(*pairs))
        return b"".join(part for _, part in sorted(parts.items()))

    def to_bytes(self) -> bytes:
        """The bytes that a device writes for it."""
        body = self._body()
        size = total_bytes(len(body), self.unit)
        header = pack(
            MAGIC, VERSION, size, self.unit, self.generation, *astuple(self.meaning), len(self.records) + 1
        )
        text = header + pack(crc32(header)) + body
        text += bytes(size - self.unit - WORD - len(text))
        return text + pack(crc32(text)) + pack(MARK) * (self.unit // WORD)

    @classmethod
    def of(cls, data: bytes) -> Blob:
        """The state that the data begins with; InputError, which says why, where there is none or it is damaged."""
        header = _header(data)
        size, unit = header[Header.BYTES], header[Header.UNIT]
        end = size - unit - WORD
        if struct.unpack_from("<I", data, end)[0] != crc32(data[:end]):
            raise InputError("damaged: the checksum is wrong")
        if data[end + WORD : size] != pack(MARK) * (unit // WORD):
            raise InputError("damaged or never finished: the mark behind it is incomplete")
        records: list[Record] = []
        words: dict[int, int] = {}
        for number, dtype, content in _records(data[HEADER_BYTES:end], header[Header.RECORDS]):
            if dtype is None:
                words = dict(struct.iter_unpack("<II", content))
            else:
                records.append(Record(number, dtype, content))
        meaning = Meaning(
            *(header[item] for item in (Header.NETWORK, Header.LOSS, Header.TRAINED, Header.OPTIMIZER))
        )
        return cls(meaning, tuple(records), words, header[Header.GENERATION], unit)


@dataclass(frozen=True)
class Slot:
    """What is found at an offset of a file: a state, or why it is none. `size`: the bytes that it says it has."""

    offset: int
    size: int
    blob: Blob | None
    fault: str


def find_slots(data: bytes) -> tuple[Slot, ...]:
    """Every saved state of a dump, whole or damaged, by offset; a file that is one state is a dump of one slot."""
    found: list[Slot] = []
    place = 0
    while (place := data.find(pack(MAGIC), place)) >= 0:
        slot = _slot(data, place)
        if place % WORD == 0 and (slot.blob is not None or _says_its_size(data[place:]) or place == 0):
            found.append(slot)
        place += WORD if slot.blob is None else slot.size
    return tuple(found)


def is_later(generation: int, other: int) -> bool:
    """Whether the first of two generations is the later one, in serial arithmetic (RFC 1982)."""
    return 0 < (generation - other) % 2**32 < 2**31


def _slot(data: bytes, offset: int) -> Slot:
    own = data[offset:]
    try:
        return Slot(offset, stated_bytes(own), Blob.of(own), "")
    except InputError as error:
        return Slot(offset, stated_bytes(own), None, error.message)


def _says_its_size(data: bytes) -> bool:
    """Whether the data begins with a header that is whole, so that a state was meant to be here."""
    check = HEADER_BYTES - WORD
    return len(data) >= HEADER_BYTES and struct.unpack_from("<I", data, check)[0] == crc32(data[:check])


def _header(data: bytes) -> dict[Header, int]:
    """The words of a sound header, whose sizes are within the data."""
    if len(data) < HEADER_BYTES:
        raise InputError(f"truncated: {len(data)} bytes, of which a header alone has {HEADER_BYTES}")
    header = dict(zip(Header, struct.unpack_from(f"<{len(Header)}I", data), strict=True))
    if header[Header.MAGIC] != MAGIC:
        raise InputError("no saved state: it does not begin as one")
    if not _says_its_size(data):
        raise InputError("damaged: the header's checksum is wrong")
    if header[Header.VERSION] != VERSION:
        raise InputError(
            f"of version {header[Header.VERSION]} of the format, of which this odl knows {VERSION}"
        )
    size, unit = header[Header.BYTES], header[Header.UNIT]
    if size > len(data):
        raise InputError(f"truncated: {len(data)} of {size} bytes")
    if unit == 0 or unit % WORD or size % WORD or size < unit + HEADER_BYTES + WORD:
        raise InputError("damaged: its sizes make no sense")
    return header


def _records(data: bytes, count: int) -> Iterator[tuple[int, DType | None, bytes]]:
    """Id, type of the elements (None for words) and content of each record."""
    types = {code: dtype for dtype, code in DTYPES.items()}
    least = 0
    for _ in range(count):
        if len(data) < RECORD_BYTES:
            raise InputError("damaged: a record is missing")
        number, code, elements = struct.unpack_from("<III", data)
        dtype = types.get(code)
        size = elements * (2 * WORD if dtype is None else dtype.bytes)
        is_words = number == WORDS_ID
        if (dtype is None) != is_words or (is_words and code != PAIRS) or number < least:
            raise InputError("damaged: a record makes no sense")
        if size > len(data) - RECORD_BYTES:
            raise InputError("damaged: a record is longer than the state")
        yield number, dtype, data[RECORD_BYTES : RECORD_BYTES + size]
        data, least = data[RECORD_BYTES + round_up(size, WORD) :], number + 1


def _record(number: int, code: int, count: int, data: bytes) -> bytes:
    return pack(number, code, count) + data + bytes(-len(data) % WORD)
