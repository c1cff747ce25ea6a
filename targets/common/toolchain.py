"""Finds the compiler and linker for the cluster: stock clang and lld, 18 or later."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cache

from odl.targets.common.requirements import Finding, tool_version

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


def _newest(names: list[str]) -> tuple[str, int] | None:
    """The first of the programs that is new enough, else the newest of the others."""
    found = [
        (path, (tool_version(path) or (0,))[0]) for name in names if (path := shutil.which(name)) is not None
    ]
    fit = [item for item in found if item[1] >= _OLDEST]
    return fit[0] if fit else max(found, key=lambda item: item[1], default=None)


def _clang() -> tuple[str, int] | None:
    return _newest([f"clang-{release}" for release in _RELEASES] + ["clang"])


def _lld() -> tuple[str, int] | None:
    return _newest([f"ld.lld-{release}" for release in _RELEASES] + ["ld.lld"])


@cache
def find_toolchain() -> Toolchain:
    """Raises MissingToolError, naming the Debian packages."""
    clang, lld = _clang(), _lld()
    for finding in check_toolchain(""):
        finding.require()
    assert clang is not None and lld is not None
    return Toolchain(clang[0], lld[0], clang[1])


def check_toolchain(purpose: str) -> list[Finding]:
    """What is here of the toolchain, for `odl doctor`."""
    return [
        Finding(
            purpose,
            tool,
            str(found[1]) if found else None,
            f">= {_OLDEST}",
            _REMEDY,
            found is not None and found[1] >= _OLDEST,
        )
        for tool, found in (("clang", _clang()), ("lld", _lld()))
    ]


def first_error(text: str) -> str:
    """What a compiler or linker complains of first, in one line."""
    lines = [line for line in text.splitlines() if "error" in line.lower()]
    return (lines or text.strip().splitlines() or ["it gave no reason"])[0][:300]
