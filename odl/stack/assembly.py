"""Reads what a compiler wrote of one C file: the assembly (who calls whom) and the .su file (bytes of each frame).

Frames are those of -fstack-usage (GCC manual, "Developer Options"; clang writes the same file). Calls are taken from the
assembly, which is what will run: after inlining, cloning and tail calls. RISC-V and x86-64 are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from odl.errors import CheckFailedError
from odl.stack.pointer_types import PointerTypes

_SYMBOL = re.compile(r"[A-Za-z_.$][\w.$]*")
_FUNCTION = re.compile(r"\s*\.type\s+([\w.$]+),\s*[@%]function")
_GLOBAL = re.compile(r"\s*\.globl\s+([\w.$]+)")
_LABEL = re.compile(r"([\w.$]+):")
_DATA = re.compile(r"\s*\.(?:word|long|quad|4byte|8byte|dword)\s+(.*)")
_INSTRUCTION = re.compile(r"\s+(?:notrack\s+)?([a-z][\w.]*)(?:\s+(.*))?$")
_COMMENT = re.compile(r"\s#(?!APP|NO_APP).*$")
_BY_HAND = re.compile(r"\s*#(APP|NO_APP)")
#: The destination is the stack pointer: first of RISC-V's operands, last of x86-64's in AT&T's order.
_MOVES_STACK = re.compile(r"sp\b|.*,\s*%[re]sp$")
_CALLS = frozenset({"call", "callq", "tail", "jal", "j", "jmp", "jmpq"})
#: Through a register: calls, and jumps that are a switch's or a call in tail position.
_CALLS_BY_REGISTER, _JUMPS_BY_REGISTER = frozenset({"jalr", "c.jalr"}), frozenset({"jr", "c.jr"})


@dataclass
class Function:
    """A function as it was compiled.

    `frame` in bytes, None where nothing tells it: assembly that moves the stack. `mentions` are symbols whose address it
    takes, functions and others; `indirect` says whether it calls through a pointer.
    """

    name: str
    file: str
    frame: int | None = None
    exported: bool = False
    calls: set[str] = field(default_factory=set)
    mentions: set[str] = field(default_factory=set)
    indirect: bool = False


@dataclass(frozen=True)
class Unit:
    """One C or assembly file: its functions by name, and symbols whose addresses its data holds.

    `types` is None where nothing tells which types of functions are called through pointers.
    """

    file: str
    functions: dict[str, Function]
    data: frozenset[str]
    types: PointerTypes | None = None

    def may_call_through_pointer(self, function: str, types: PointerTypes | None) -> bool:
        """Whether a call through a pointer here may reach that function of a file with those types."""
        if self.types is None or types is None or function not in types.functions:
            return True
        return types.functions[function] in self.types.called


def read_unit(file: str, assembly: str, usage: str | None, types: PointerTypes | None = None) -> Unit:
    """The functions of one file; `usage` is None for a file of assembly.

    CheckFailedError for a frame without a bound, and for assembly within C that moves the stack.
    """
    lines = [_COMMENT.sub("", line).rstrip() for line in assembly.splitlines()]
    exported = {found[1] for line in lines if (found := _GLOBAL.match(line))}
    frames = dict(_frames(file, usage or ""))
    functions = {
        found[1]: Function(
            found[1], file, frames.get(re.sub(r"\.\d+$", "", found[1])), exported=found[1] in exported
        )
        for line in lines
        if (found := _FUNCTION.match(line))
    }
    tables, data = _tables(lines)
    for name, body in _bodies(lines, functions):
        if usage is None and not any(_moves_stack(line) for line in body):
            functions[name].frame = 0
        _read(functions[name], body, tables)
    return Unit(file, functions, data, types)


def _frames(file: str, usage: str) -> Iterator[tuple[str, int]]:
    """Bytes of every function's frame by its name without the number of a clone; the largest of equal names last."""
    found = []
    for line in usage.splitlines():
        place, size, kind = line.split("\t")
        name = place.rpartition(":")[2]
        if kind not in ("static", "dynamic,bounded"):
            raise CheckFailedError(f"{file}: the stack of {name} has no bound ({kind})")
        found.append((re.sub(r"\.\d+$", "", name), int(size)))
    yield from sorted(found, key=lambda item: item[1])


def _tables(lines: list[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Labels of the tables of switches (data that holds places in code), and all symbols that data mentions."""
    tables, mentioned, label = set(), set(), ""
    for line in lines:
        if found := _LABEL.match(line):
            label = found[1]
        elif found := _DATA.match(line):
            symbols = _SYMBOL.findall(found[1])
            mentioned.update(symbols)
            if any(symbol.startswith(".L") for symbol in symbols):
                tables.add(label)
    return frozenset(tables), frozenset(mentioned)


def _bodies(lines: list[str], functions: dict[str, Function]) -> Iterator[tuple[str, list[str]]]:
    """Each function's lines, from its label to its .size."""
    name, body = "", list[str]()
    for line in lines:
        found = _LABEL.match(line)
        if found and found[1] in functions:
            name, body = found[1], []
        elif name and re.match(rf"\s*\.size\s+{re.escape(name)},", line):
            yield name, body
            name = ""
        elif name:
            body.append(line)


def _moves_stack(line: str) -> bool:
    found = _INSTRUCTION.match(line)
    return bool(found and _MOVES_STACK.match(found[2] or ""))


def _read(function: Function, body: list[str], tables: frozenset[str]) -> None:
    """Fill in whom the function calls. A jump through a register is a switch where there is a table for it."""
    jumps, switches, by_hand = 0, set[str](), False
    for line in body:
        if by := _BY_HAND.match(line):
            by_hand = by[1] == "APP"
        found = _INSTRUCTION.match(line)
        if not found:
            continue
        name, operands = found[1], found[2] or ""
        symbols = _SYMBOL.findall(re.sub(r"@\w+", "", operands))
        switches.update(symbol for symbol in symbols if symbol in tables)
        through_register = operands.startswith("*") or name in _CALLS_BY_REGISTER
        if by_hand and _moves_stack(line):
            raise CheckFailedError(f"{function.file}: assembly in {function.name} moves the stack")
        if (name.startswith("jmp") and through_register) or name in _JUMPS_BY_REGISTER:
            jumps += 1
        elif through_register:
            function.indirect = True
        elif name in _CALLS:
            function.calls.update(symbol for symbol in symbols if not symbol.startswith(".L"))
        else:
            function.mentions.update(symbols)
    function.indirect = function.indirect or jumps > len(switches)
