"""The programs that the assurance pack calls, and their versions."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from odl.errors import CheckFailedError, MissingToolError

#: The release of LLVM that is tested.
LLVM = 22


@dataclass(frozen=True)
class Tool:
    """A program, and the Debian package that has it."""

    name: str
    package: str

    @cached_property
    def path(self) -> str:
        """Where it is. MissingToolError where it is not."""
        found = shutil.which(self.name)
        if found is None:
            raise MissingToolError(f"{self.name} is missing; get it with: apt-get install {self.package}")
        return found

    @property
    def version(self) -> str:
        """Its release."""
        done = subprocess.run([self.path, "--version"], capture_output=True, text=True, check=True)
        found = re.search(r"\d+\.\d+(\.\d+)*", done.stdout.replace(f"Debian {LLVM}", ""))
        return f"{self.name} {found[0] if found else 'of unknown release'}"


CPPCHECK = Tool("cppcheck", "cppcheck")
GCC = Tool("gcc", "gcc")
CLANG = Tool(f"clang-{LLVM}", f"clang-{LLVM}")
CLANG_TIDY = Tool(f"clang-tidy-{LLVM}", f"clang-tidy-{LLVM}")
LLVM_COV = Tool(f"llvm-cov-{LLVM}", f"llvm-{LLVM}")
LLVM_PROFDATA = Tool(f"llvm-profdata-{LLVM}", f"llvm-{LLVM}")


def run(command: Sequence[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """What a program says of some files. CheckFailedError with its last line where it fails."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise CheckFailedError(f"{Path(command[0]).name} failed in {directory}: {said[-1]}")
    return done


def machine() -> str:
    """This machine: processor and system."""
    model = re.search(
        r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
    )
    release = re.search(
        r'^PRETTY_NAME="(.*)"$', Path("/etc/os-release").read_text(encoding="utf-8"), re.MULTILINE
    )
    return f"{model[1] if model else platform.machine()}, {release[1] if release else platform.system()}"
