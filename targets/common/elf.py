"""Symbols of a 32-bit little-endian ELF file: enough to find variables and to name a program counter."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from odl.errors import InputError

# Sizes and numbers from the ELF specification (System V ABI, chapter 4)
_SECTION_HEADER = struct.Struct("<10I")
_SYMBOL = struct.Struct("<3I2BH")
_SYMBOL_TABLE = 2
_FUNCTION = 2


@dataclass(frozen=True)
class Symbol:
    """A named address; `size` in bytes, 0 where the linker script made it."""

    name: str
    address: int
    size: int
    is_function: bool


@dataclass(frozen=True)
class Elf:
    """The symbols of a program, by name."""

    path: Path
    entry: int
    symbols: dict[str, Symbol]

    @classmethod
    def read(cls, path: Path) -> Elf:
        """Raises InputError where the file is missing or no 32-bit ELF."""
        try:
            image = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read the program {path}: {error.strerror}") from error
        if image[:5] != b"\x7fELF\x01":
            raise InputError(f"{path} is not a 32-bit ELF file")
        (entry,) = struct.unpack_from("<I", image, 24)
        return cls(path, entry, {symbol.name: symbol for symbol in _read_symbols(image)})

    def symbol(self, name: str) -> Symbol:
        """Raises InputError where there is no such symbol."""
        found = self.symbols.get(name)
        if found is None:
            raise InputError(
                f"{self.path.name} has no variable {name}; is it declared, not static, and used?"
            )
        return found

    def symbol_with_room(self, name: str, size: int) -> Symbol:
        """A variable that `size` bytes go into. InputError where there is none, or a smaller one."""
        found = self.symbol(name)
        if size > found.size:
            raise InputError(f"{name} has room for {found.size} bytes, not for the {size} given")
        return found

    def symbols_with_prefix(self, prefix: str) -> list[Symbol]:
        """Symbols whose name begins with the prefix, in the order of their names."""
        return [self.symbols[name] for name in sorted(self.symbols) if name.startswith(prefix)]

    def locate(self, pc: int) -> str:
        """`function+0x12`, or `?` outside every function."""
        functions = sorted((s for s in self.symbols.values() if s.is_function), key=lambda s: s.address)
        i = bisect_right([s.address for s in functions], pc) - 1
        if i < 0:
            return "?"
        offset = pc - functions[i].address
        if offset >= max(functions[i].size, 1) and functions[i].size:
            return "?"
        return f"{functions[i].name}+0x{offset:x}"


def _read_symbols(image: bytes) -> Iterator[Symbol]:
    (section_offset,) = struct.unpack_from("<I", image, 32)
    entry_size, count = struct.unpack_from("<HH", image, 46)
    sections = [_SECTION_HEADER.unpack_from(image, section_offset + i * entry_size) for i in range(count)]
    for _, kind, _, _, offset, size, link, _, _, _ in sections:
        if kind != _SYMBOL_TABLE:
            continue
        names_offset = sections[link][4]
        for at in range(offset, offset + size, _SYMBOL.size):
            name, address, length, info, _, section = _SYMBOL.unpack_from(image, at)
            if name and section:
                start = names_offset + name
                text = image[start : image.index(b"\0", start)].decode(errors="replace")
                yield Symbol(text, address, length, info & 0xF == _FUNCTION)
