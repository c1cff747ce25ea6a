"""odl: on-device learning for microcontrollers; a PyTorch model in, C that trains it out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from odl.errors import CheckFailedError as CheckFailedError
from odl.errors import InputError as InputError
from odl.errors import MissingToolError as MissingToolError
from odl.errors import OdlError as OdlError
from odl.version import VERSION

if TYPE_CHECKING:
    from odl import state as state
    from odl.build import Build as Build
    from odl.build import compile as compile
    from odl.learners.importance import Importance as Importance
    from odl.optimizers.adam import Adam as Adam
    from odl.optimizers.sgd import SGD as SGD
    from odl.options import Options as Options
    from odl.run.net import Net as Net

__version__ = VERSION

_ERRORS = ("CheckFailedError", "InputError", "MissingToolError", "OdlError")
#: Imported when they are first asked for: PyTorch takes seconds, which `odl --help` need not wait for.
_LAZY = {"Build": "odl.build", "compile": "odl.build", "Net": "odl.run.net", "Options": "odl.options"}
#: Modules that are public, imported in the same way.
_MODULES = ("state",)


def __getattr__(name: str) -> Any:
    """What is imported when it is first asked for: `_LAZY`, `_MODULES`, `__all__`,
    optimizers and learning primitives by their classes' names."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"odl.{name}")
    if name != "__all__" and name.startswith("_"):
        raise AttributeError(f"module 'odl' has no attribute '{name}'")
    found = {
        **importlib.import_module("odl.optimizers").CLASSES,
        **importlib.import_module("odl.learners").CLASSES,
    }
    if name == "__all__":
        return sorted((*_ERRORS, *_LAZY, *_MODULES, *found))
    if name in found:
        return found[name]
    raise AttributeError(f"module 'odl' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
