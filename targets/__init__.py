"""One folder per target, found by its module `target` with a value `TARGET`; the others hold what targets share.

Nothing of a simulator is loaded before a session is opened.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from odl.errors import InputError, option
from odl.targets.target import InstructionSet, Memory, Target


def _found() -> dict[str, Target]:
    folders = sorted(file.parent.name for file in Path(__file__).parent.glob("*/target.py"))
    targets = [importlib.import_module(f"{__name__}.{folder}.target").TARGET for folder in folders]
    return {target.name: target for target in sorted(targets, key=lambda target: not target.is_host)}


#: By name, the host first.
TARGETS: Mapping[str, Target] = MappingProxyType(_found())
HOST = next(target for target in TARGETS.values() if target.is_host)


def find(name: str) -> Target:
    """The target of that name; InputError where there is none."""
    if name not in TARGETS:
        raise InputError(f"{option('target', name)}: must be one of {', '.join(TARGETS)}")
    return TARGETS[name]


__all__ = ["HOST", "TARGETS", "InstructionSet", "Memory", "Target", "find"]
