"""A host library's functions and variables, as net.h declares them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cffi

from odl.errors import InputError
from odl.project.entry_point import EntryPoint

_VARIABLES = """
extern uint8_t net_arena[];
extern void (*net_observer)(uint32_t program, uint32_t node);
"""


def open_library(library: Path, entry_points: Iterable[EntryPoint], has_l1: bool) -> tuple[Any, Any]:
    """cffi's interface and a private copy of the library, so that two nets never share an arena.

    InputError where the file is no library of this machine.
    """
    ffi = cffi.FFI()
    ffi.cdef("".join(f"{entry_point.prototype};\n" for entry_point in entry_points) + _VARIABLES)
    if has_l1:
        ffi.cdef("extern uint8_t net_l1[];")
    handle, name = tempfile.mkstemp(suffix=".so", prefix="odl-")
    os.close(handle)
    try:
        shutil.copyfile(library, name)
        return ffi, ffi.dlopen(name)
    except OSError as error:
        reason = str(error).partition("  Additionally")[0].replace(name, library.name).rstrip(".")
        raise InputError(f"{library}: {reason}; delete it, and it is built again") from error
    finally:
        os.unlink(name)
