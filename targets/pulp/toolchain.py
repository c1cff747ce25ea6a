"""Finds the compiler and linker for the cluster: stock clang and lld, 18 or later."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache

from odl.errors import MissingToolError
from odl.targets.tools import Finding

TESTED = 22
_RELEASES = (TESTED, *range(40, 17, -1))
_OLDEST = 18
_REMEDY = f"apt-get install clang-{TESTED} lld-{TESTED}"


@dataclass(frozen=True)
class Toolchain:
    """Paths of clang and lld; both of the same release where both are there."""

    clang: str
    lld: str
    release: int


def _release(path: str) -> int:
    text = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"(?:version|LLD) (\d+)\.", text)
    return int(found.group(1)) if found else 0


def _first(names: list[str]) -> tuple[str, int] | None:
    for name in names:
        path = shutil.which(name)
        if path is not None and _release(path) >= _OLDEST:
            return path, _release(path)
    return None


def _clang() -> tuple[str, int] | None:
    return _first([f"clang-{release}" for release in _RELEASES] + ["clang"])


def _lld() -> tuple[str, int] | None:
    return _first([f"ld.lld-{release}" for release in _RELEASES] + ["ld.lld"])


@cache
def find_toolchain() -> Toolchain:
    """Raises MissingToolError, naming the Debian packages."""
    clang, lld = _clang(), _lld()
    if clang is None or lld is None:
        missing = "clang" if clang is None else "lld"
        raise MissingToolError(f"{missing} >= {_OLDEST} is missing (Debian: {_REMEDY})")
    return Toolchain(clang[0], lld[0], clang[1])


def check_toolchain(purpose: str) -> list[Finding]:
    """What is here of the toolchain, for `odl doctor`."""
    return [
        Finding(purpose, tool, str(found[1]) if found else None, f">= {_OLDEST}", _REMEDY, found is not None)
        for tool, found in (("clang", _clang()), ("lld", _lld()))
    ]
