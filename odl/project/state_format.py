"""The format of a saved training state: the one place that its C (codegen/templates/state.c.j2) and its reader derive from.

A state is header, records in ascending order of id, zeros up to the last word before a multiple of `unit`, the CRC-32
(IEEE 802.3) of all that, and `unit` bytes of the mark that says that the rest is complete. All numbers are little-endian.
docs/state.md describes it.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from odl.graph.ir import DType

#: Version of the format. All versions have the same header, and the same mark.
VERSION = 1
MAGIC = int.from_bytes(b"ODLS", "little")
MARK = int.from_bytes(b"KEPT", "little")
#: The smallest unit: bytes of a word.
WORD = 4


class Header(StrEnum):
    """Words of the header, in order.

    `unit`: bytes that the mark takes, which is what the storage programs at once. `generation` tells the newer of two
    states, in serial arithmetic. `network` to `optimizer` are what the state means. `check` is the CRC-32 of the words
    before it, so that no fault of the length goes unseen.
    """

    MAGIC = "magic"
    VERSION = "version"
    BYTES = "bytes"
    UNIT = "unit"
    GENERATION = "generation"
    NETWORK = "network"
    LOSS = "loss"
    TRAINED = "trained"
    OPTIMIZER = "optimizer"
    RECORDS = "records"
    CHECK = "check"


class RecordHeader(StrEnum):
    """Words before a record's data; `count` is of elements. The data ends at a whole word."""

    ID = "id"
    DTYPE = "dtype"
    COUNT = "count"


HEADER_BYTES = WORD * len(Header)
RECORD_BYTES = WORD * len(RecordHeader)

#: What a record's `dtype` says: a tensor's type of elements, or pairs of a word's id and its 32 bits.
DTYPES: Mapping[DType, int] = {
    DType.F32: 1,
    DType.F16: 2,
    DType.U8: 3,
    DType.I8: 5,
    DType.U32: 6,
    DType.I32: 7,
}
PAIRS = 4


def crc32(data: bytes) -> int:
    """The CRC-32 of IEEE 802.3 (reflected polynomial 0xEDB88320)."""
    return zlib.crc32(data)


def identifier(*words: object) -> int:
    """The id of something that is known by these words: the CRC-32 of their text."""
    return crc32("\n".join(str(word) for word in words).encode())


#: The record that holds the words of the state besides its tensors.
WORDS_ID = identifier("words")
#: An id that nothing has: it is behind all others.
NO_ID = 0xFFFFFFFF


@dataclass(frozen=True)
class Meaning:
    """What a saved state is a state of, each part as a hash; none depends on memory, target, lanes or types of storage."""

    network: int
    loss: int
    trained: int
    optimizer: int


#: What a state of another meaning is of, for each part.
DIFFERENCES: Mapping[Header, str] = {
    Header.NETWORK: "another network",
    Header.LOSS: "a training with another loss",
    Header.TRAINED: "a training of other parameters or statistics",
    Header.OPTIMIZER: "another optimizer, or one with other constants",
}


#: Bytes of a digest.
DIGEST_BYTES = 32


def digest(meaning: bytes, records: bytes) -> bytes:
    """The SHA-256 of a training state: of the header's words from `network` to `optimizer`, then of the records."""
    return hashlib.sha256(meaning + records).digest()


def record_bytes(width: int, count: int) -> int:
    """Bytes of a record whose elements take `width` bytes each."""
    return RECORD_BYTES + round_up(width * count, WORD)


def total_bytes(records: int, unit: int = WORD) -> int:
    """Bytes of a state whose records take `records` bytes."""
    return round_up(HEADER_BYTES + records + WORD, unit) + unit


def stated_bytes(data: bytes) -> int:
    """Bytes that a state has by what it says itself; those that are there, where it does not get so far."""
    place = WORD * list(Header).index(Header.BYTES)
    said = data[place : place + WORD]
    return int.from_bytes(said, "little") if len(said) == WORD else len(data)


def round_up(number: int, multiple: int) -> int:
    """The smallest multiple that is not below the number."""
    return -(-number // multiple) * multiple


def pack(*words: int) -> bytes:
    """Words as they are stored."""
    return struct.pack(f"<{len(words)}I", *words)
