"""The two files through which data goes into a program on GVSoC and comes out; runtime/exchange.c describes them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odl.errors import CheckFailedError, InputError
from odl.targets.pulp.elf import Elf

INPUT, OUTPUT = "odl.in", "odl.out"
_WORD, _REGION, _WATCH, _MARK = (struct.Struct(layout) for layout in ("<I", "<II", "<III", "<II"))
_LAST_MARK = 0xFFFFFFFD
#: Room in runtime/exchange.c.
_MAX_VARIABLES, _MAX_WATCHES = 16, 4096


@dataclass(frozen=True)
class Mark:
    """A moment that the program marked (`odl_mark`): cycles of the cluster since the start, modulo 2³²."""

    id: int
    cycle: int


@dataclass(frozen=True)
class Watch:
    """Memory that is wanted as it was at a mark: `bytes` from `address`, whenever the program marks `mark`."""

    mark: int
    address: int
    bytes: int


@dataclass(frozen=True)
class Answer:
    """What the program wrote: every mark, what each watch saw at its marks, and the variables asked for."""

    marks: tuple[Mark, ...]
    watched: Mapping[Watch, tuple[bytes, ...]]
    dumps: Mapping[str, bytes]


def request(program: Elf, load: Mapping[str, bytes], dump: Sequence[str], watch: Sequence[Watch]) -> bytes:
    """What to write for the program to read. InputError for an unknown or too small variable, or too many."""
    if len(dump) > _MAX_VARIABLES or len(watch) > _MAX_WATCHES:
        raise InputError(
            f"{len(dump)} variables and {len(watch)} watches; GVSoC's runtime has room for {_MAX_VARIABLES} "
            f"and {_MAX_WATCHES}"
        )
    parts = [_WORD.pack(len(load))]
    for name, content in load.items():
        symbol = program.symbol(name)
        if len(content) > symbol.size:
            raise InputError(f"{name} has room for {symbol.size} bytes, not for the {len(content)} given")
        parts += [_REGION.pack(symbol.address, len(content)), content]
    parts.append(_WORD.pack(len(dump)))
    for symbol in map(program.symbol, dump):
        parts.append(_REGION.pack(symbol.address, symbol.size))
    parts.append(_WORD.pack(len(watch)))
    parts += [_WATCH.pack(item.mark, item.address, item.bytes) for item in watch]
    return b"".join(parts)


def read_answer(answer: bytes, program: Elf, dump: Sequence[str], watch: Sequence[Watch]) -> Answer:
    """What the program wrote to such a request. CheckFailedError where it is not all there."""
    marks: list[Mark] = []
    seen: dict[Watch, list[bytes]] = {item: [] for item in watch}
    at = 0

    def take(size: int) -> bytes:
        nonlocal at
        taken = answer[at : at + size]
        at += size
        if len(taken) < size:
            raise CheckFailedError("the program on GVSoC ended without its results")
        return taken

    while (mark := Mark(*_MARK.unpack(take(_MARK.size)))).id != _LAST_MARK:
        marks.append(mark)
        for item in (item for item in watch if item.mark == mark.id):
            seen[item].append(take(item.bytes))
    dumps = {name: take(program.symbol(name).size) for name in dump}
    return Answer(tuple(marks), {item: tuple(entries) for item, entries in seen.items()}, dumps)
