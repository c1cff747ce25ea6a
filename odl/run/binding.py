"""A host library's functions and variables, as the project's header declares them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cffi

from odl.errors import InputError, damaged
from odl.project.entry_point import EntryPoint
from odl.project.status import declaration

_VARIABLES = """
extern uint8_t {{ prefix }}_arena[];
extern uint8_t {{ prefix }}_state[];
extern void (*{{ prefix }}_observer)(uint32_t program, uint32_t node);
"""


class Library:
    """A library's functions and variables, by their names without the prefix."""

    def __init__(self, functions: Any, prefix: str) -> None:
        self._functions, self._prefix = functions, prefix

    def __getattr__(self, name: str) -> Any:
        return getattr(self._functions, f"{self._prefix}_{name}")

    def observe(self, function: Any) -> None:
        """Have a C function called after every kernel, or none where it is NULL."""
        setattr(self._functions, f"{self._prefix}_observer", function)


def open_library(
    library: Path, prefix: str, entry_points: Iterable[EntryPoint], has_l1: bool
) -> tuple[Any, Library]:
    """cffi's interface and a private copy of the library, so that two nets never share an arena.

    InputError where the file is no library of this machine.
    """
    ffi = cffi.FFI()
    text = (
        f"{declaration(comments=False)}\n"
        + "".join(f"{entry_point.prototype};\n" for entry_point in entry_points)
        + _VARIABLES
    )
    if has_l1:
        text += "extern uint8_t {{ prefix }}_l1[];"
    ffi.cdef(text.replace("{{ prefix }}", prefix).replace("{{ PREFIX }}", prefix.upper()))
    handle, name = tempfile.mkstemp(suffix=".so", prefix="odl-")
    os.close(handle)
    try:
        shutil.copyfile(library, name)
        return ffi, Library(ffi.dlopen(name), prefix)
    except OSError as error:
        reason = str(error).partition("  Additionally")[0].replace(name, library.name).rstrip(".")
        if "undefined symbol" in reason:
            raise damaged(library.parent, reason) from error
        raise InputError(f"{library}: {reason}; delete it, and it is built again") from error
    finally:
        os.unlink(name)
