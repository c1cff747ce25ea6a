"""odl: on-device learning for microcontrollers; a PyTorch model in, C that trains it out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from odl.errors import CheckFailedError, InputError, MissingToolError, OdlError
from odl.options import SGD, Adam, Options

if TYPE_CHECKING:
    from odl.build import Build, compile
    from odl.run.net import Net

__version__ = "0.1.0"
__all__ = [
    "SGD",
    "Adam",
    "Build",
    "CheckFailedError",
    "InputError",
    "MissingToolError",
    "Net",
    "OdlError",
    "Options",
    "compile",
]

#: Imported when they are first asked for: PyTorch takes seconds, which `odl --help` need not wait for.
_LAZY = {"Build": "odl.build", "compile": "odl.build", "Net": "odl.run.net"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'odl' has no attribute '{name}'")
    return getattr(importlib.import_module(_LAZY[name]), name)
