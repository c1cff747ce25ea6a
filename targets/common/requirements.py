"""The programs that targets and data sets need: which are here, in which version, how to get the others."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Requirement:
    """A program that something needs, in at least a version."""

    purpose: str
    tool: str
    minimum: tuple[int, ...]
    remedy: str


@dataclass(frozen=True)
class Finding:
    """A requirement with what was found: a version, or None."""

    purpose: str
    tool: str
    found: str | None
    needed: str
    remedy: str
    ok: bool


def check(requirement: Requirement) -> Finding:
    """Look for one program and its version."""
    version = tool_version(requirement.tool)
    needed = ".".join(str(part) for part in requirement.minimum)
    ok = version is not None and version >= requirement.minimum
    found = None if version is None else ".".join(str(part) for part in version) or "no version"
    return Finding(requirement.purpose, requirement.tool, found, f">= {needed}", requirement.remedy, ok)


def complaint(finding: Finding) -> str:
    """What to tell a user who needs a program that is not there, or too old."""
    state = "is missing" if finding.found is None else f"is too old ({finding.found})"
    return f"{finding.tool} {state}, {finding.needed} is needed; install it with: {finding.remedy}"


def check_all(requirements: Iterable[Requirement]) -> list[Finding]:
    """Look for every program."""
    return [check(requirement) for requirement in requirements]


def tool_version(tool: str) -> tuple[int, ...] | None:
    """The first version number that `tool --version` prints.

    None when there is no such program, the empty tuple when it does not run or prints no version.
    """
    if shutil.which(tool) is None:
        return None
    try:
        done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.search(r"\d+(?:\.\d+)+", done.stdout + done.stderr)
    return tuple(int(part) for part in match[0].split(".")) if match and done.returncode == 0 else ()
