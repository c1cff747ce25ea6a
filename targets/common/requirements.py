"""The programs that targets and data sets need: which are here, in which version, how to get the others."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from odl.errors import MissingToolError


@dataclass(frozen=True)
class Finding:
    """A program that something needs, with what was found: a version, or None."""

    purpose: str
    tool: str
    found: str | None
    needed: str
    remedy: str
    ok: bool

    def require(self) -> None:
        """MissingToolError, with how to get the program, where it is not there or too old."""
        if not self.ok:
            state = "is missing" if self.found is None else f"is too old ({self.found})"
            raise MissingToolError(
                f"{self.tool} {state}, {self.needed} is needed; install it with: {self.remedy}"
            )


@dataclass(frozen=True)
class Requirement:
    """A program that something needs, in at least a version."""

    purpose: str
    tool: str
    minimum: tuple[int, ...]
    remedy: str

    def check(self) -> Finding:
        """Look for the program and its version."""
        version = tool_version(self.tool)
        needed, found = (".".join(map(str, parts)) for parts in (self.minimum, version or ()))
        ok = version is not None and version >= self.minimum
        return Finding(
            self.purpose,
            self.tool,
            None if version is None else found or "no version",
            f">= {needed}",
            self.remedy,
            ok,
        )


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
