"""Finds what the simulator is built from: the RTL package, Verilator, a C++ compiler."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from odl.errors import MissingToolError
from odl.targets.common.requirements import Finding
from odl.targets.common.toolchain import check_toolchain

_EXTRA = "pip install 'odl[rtl]'"
RTL_DISTRIBUTION = "pythondata-cpu-cv32e40p"


@dataclass(frozen=True)
class Rtl:
    """The CV32E40P package: its version and the folder that holds rtl/ and bhv/."""

    version: str
    folder: Path


@dataclass(frozen=True)
class Verilator:
    """A Verilator of release 5 or later: how to start it, and where its C++ runtime is."""

    version: str
    command: tuple[str, ...]
    root: Path

    def environment(self) -> dict[str, str]:
        """The environment to start it in."""
        return {**os.environ, "VERILATOR_ROOT": str(self.root)}


@dataclass(frozen=True)
class Compiler:
    """A C++20 compiler."""

    version: str
    command: str

    @property
    def is_gcc(self) -> bool:
        """GCC, whose profile-guided optimisation the build knows how to use."""
        return "clang" not in self.version


def _package_folder(module: str) -> Path | None:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _first_line(command: list[str], environment: dict[str, str] | None = None) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip().split("\n")[0]


def find_rtl() -> Rtl:
    """The installed RTL package. Raises MissingToolError."""
    package = _package_folder("pythondata_cpu_cv32e40p")
    if package is None:
        raise MissingToolError(f"the CV32E40P RTL is missing: {_EXTRA} (package {RTL_DISTRIBUTION})")
    return Rtl(metadata.version(RTL_DISTRIBUTION), package / "system_verilog")


def find_verilator(scratch: Path) -> Verilator:
    """Verilator from its Python package, else from the system.

    Some releases of the package lack the executable bit, and its folder may not be ours to change: then a copy is
    made in `scratch`. Raises MissingToolError.
    """
    package = _package_folder("verilator")
    if package is not None and (package / "bin" / "verilator_bin").exists():
        binary = package / "bin" / "verilator_bin"
        if not os.access(binary, os.X_OK):
            scratch.mkdir(parents=True, exist_ok=True)
            binary = Path(shutil.copy(binary, scratch / "verilator_bin"))
            binary.chmod(0o755)
        found = Verilator("", (str(binary),), package)
        version = _first_line([str(binary), "--version"], found.environment())
        if version is not None:
            # What the program says of itself may lack the release.
            release_of_package = f"Verilator {metadata.version('verilator')}, {version}"
            return Verilator(release_of_package, found.command, package)
    system = shutil.which("verilator")
    version = _first_line([system, "--version"]) if system else None
    release = re.match(r"Verilator (\d+)", version or "")
    if system is None or version is None or release is None or int(release.group(1)) < 5:
        raise MissingToolError(f"Verilator >= 5 is missing: {_EXTRA} (package verilator)")
    root = _first_line([system, "--getenv", "VERILATOR_ROOT"])
    if not root:
        raise MissingToolError(f"{system} does not say where its VERILATOR_ROOT is; {_EXTRA} brings another")
    return Verilator(version, (system,), Path(root))


def find_compiler() -> Compiler:
    """A C++ compiler: $CXX, else g++, else clang++. Raises MissingToolError."""
    for name in filter(None, (os.environ.get("CXX"), "g++", "clang++-22", "clang++")):
        path = shutil.which(name)
        version = _first_line([path, "--version"]) if path else None
        if path is not None and version is not None:
            return Compiler(version, path)
    raise MissingToolError("a C++20 compiler is missing: install g++ (Debian: apt-get install g++)")


def check_tools(scratch: Path) -> list[Finding]:
    """What is here of all that target cv32e40p needs, for `odl doctor`; `scratch` as in `find_verilator`."""
    purpose = "target cv32e40p"

    def finding(
        tool: str, needed: str, remedy: str, find: Callable[[], Rtl | Verilator | Compiler]
    ) -> Finding:
        try:
            found = _number(find().version)
        except MissingToolError:
            return Finding(purpose, tool, None, needed, remedy, ok=False)
        return Finding(purpose, tool, found, needed, remedy, ok=True)

    return [
        finding(RTL_DISTRIBUTION, "any", _EXTRA, find_rtl),
        finding("verilator", ">= 5", _EXTRA, lambda: find_verilator(scratch)),
        finding("C++20 compiler", "any", "apt-get install g++", find_compiler),
        *check_toolchain(purpose),
    ]


def _number(text: str) -> str:
    found = re.search(r"\d+(?:\.\w+)+", text)
    return found.group(0) if found else text
