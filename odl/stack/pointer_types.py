"""Which types of functions a C file calls through pointers, as clang tells it.

A call through a pointer of another type than the function's is undefined (C11 6.5.2.2, paragraph 9), so it reaches only
functions of its own type. clang's kernel control-flow integrity (-fsanitize=kcfi) states a hash of the type at every such
call and with every function; without optimisation, nothing of the source is lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

#: What makes clang write the types, in LLVM's assembly.
FLAGS = ("-O0", "-fsanitize=kcfi", "-emit-llvm", "-S")
_FUNCTION = re.compile(r'^define [^@]*@"?([\w.$]+)"?\(.*!kcfi_type !(\d+)', re.MULTILINE)
_NUMBER = re.compile(r"^!(\d+) = !\{i32 (-?\d+)\}$", re.MULTILINE)
_CALL = re.compile(r"^.*\bcall\b[^@\"]* %[\w.]+\(.*$", re.MULTILINE)
_TYPE = re.compile(r'"kcfi"\(i32 (-?\d+)\)')


@dataclass(frozen=True)
class PointerTypes:
    """Hashes of types: of each function of a file, and of those that the file calls through pointers."""

    functions: Mapping[str, int]
    called: frozenset[int]


def read_types(text: str) -> PointerTypes | None:
    """What a file in LLVM's assembly says; None where a call does not tell its type."""
    numbers = {name: int(number) for name, number in _NUMBER.findall(text)}
    told = [_TYPE.search(call) for call in _CALL.findall(text)]
    if not all(told):
        return None
    functions = {name: numbers[reference] for name, reference in _FUNCTION.findall(text)}
    return PointerTypes(functions, frozenset(int(found[1]) for found in told if found))
