"""Builds a project's host libraries; objects are cached by content, so that networks share their kernels.

The project's own Makefile gives the same libraries without Python (`make libraries`).
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from odl.cache_folder import cache_folder
from odl.errors import InputError, OdlError, damaged, option
from odl.project.manifest import read_manifest
from odl.targets import HOST
from odl.targets.common.toolchain import find_toolchain

#: What no kernel asks for: the number of cores, which it is told by its caller, and who looks on.
_NOT_FOR_KERNELS = re.compile(r"-DODL_(CORES|CONTROLLER)=\d+|-D\w+_(OBSERVE|PUBLISH|MARKS)")


class ProjectBuild(StrEnum):
    """What a project's Makefile makes of its C: two libraries for this machine, and the program for its target.

    EXACT computes the devices' bits; FAST is the same algorithm, free to vectorise; DEVICE is the target's.
    """

    EXACT = "exact"
    FAST = "fast"
    DEVICE = "device"

    @classmethod
    def of(cls, name: str) -> ProjectBuild:
        """The build of that name; InputError where there is none."""
        if name not in list(cls):
            raise InputError(f"{option('build', name)}: must be one of {', '.join(cls)}")
        return cls(name)


class Debug(StrEnum):
    """What a build shows of a running network, as `<prefix>_debug.c` says; a product's build shows nothing."""

    OBSERVE = "OBSERVE"
    MARKS = "MARKS"
    PUBLISH = "PUBLISH"


@dataclass(frozen=True)
class BuildPlan:
    """How a build is made, as the project's Makefile states it: the compiler's flags, the sources, the linker's flags."""

    flags: list[str]
    sources: list[str]
    link: list[str]


def build_library(directory: Path, build: ProjectBuild) -> Path:
    """Path of the shared library of that build, made if its sources changed.

    Raises InputError when the directory is no project, has lost a file or cannot be written, MissingToolError
    without make or gcc, OdlError when compiling fails.
    """
    manifest = read_manifest(directory)
    for path in manifest.files:
        if not (directory / path).is_file():
            raise InputError(f"{directory} has lost '{path}'; compile it again with odl compile -o")
    for finding in HOST.findings():
        finding.require()
    plan = build_plan(directory, build, Debug.OBSERVE)
    tool = _run(["gcc", "--version"], directory).splitlines()[0] + _host_flags()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiler = ["gcc", *plan.flags, "-fPIC"]
        objects = list(pool.map(lambda source: _object(directory, source, compiler, tool), plan.sources))
    library = directory / f"{manifest.prefix}_{build}.so"
    stamp = directory / f".{manifest.prefix}_{build}.key"
    key = _digest(*(path.name.encode() for path in objects))
    if not (library.is_file() and stamp.is_file() and stamp.read_text() == key):
        _replace(
            library, lambda path: _run(["gcc", "-shared", "-o", path, *map(str, objects), "-lm"], directory)
        )
        stamp.write_text(key)
    return library


def build_program(directory: Path, *, publish: bool) -> Path:
    """Path of the project's program for its device, with marks around every kernel; from the cache if it was built before.

    With `publish` every kernel's results are in memory at its mark. Raises MissingToolError without clang or lld.
    """
    toolchain = find_toolchain()
    plan = build_plan(directory, ProjectBuild.DEVICE, Debug.PUBLISH if publish else Debug.MARKS)
    tool = _run([toolchain.clang, "--version"], directory).splitlines()[0]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiler = [toolchain.clang, *plan.flags]
        objects = list(pool.map(lambda source: _object(directory, source, compiler, tool), plan.sources))
    script = (directory / "runtime" / "link.ld").read_bytes()
    key = _digest(script, *(path.name.encode() for path in objects), " ".join(plan.link).encode())
    program = cache_folder() / "programs" / f"{key}.elf"
    if not program.is_file():
        command = [toolchain.lld, *plan.link, *map(str, objects), "-o"]
        _replace(program, lambda path: _run([*command, path], directory))
    return program


def build_plan(directory: Path, build: ProjectBuild, debug: Debug | None = None) -> BuildPlan:
    """How the project's Makefile makes a build, whatever CFLAGS the user set. OdlError where it does not say."""
    command = [
        "make",
        "--silent",
        "--no-print-directory",
        f"print-{build}",
        "CFLAGS=",
        f"DEBUG={debug or ''}",
    ]
    lines = [line.split() for line in _run(command, directory).splitlines()]
    if len(lines) != (3 if build is ProjectBuild.DEVICE else 2):
        raise OdlError(
            f"{directory}/Makefile does not say how to build for '{build}'; compile the project again"
        )
    return BuildPlan(*lines, *([[]] if len(lines) == 2 else []))


def _object(directory: Path, source: str, compiler: list[str], tool: str) -> Path:
    """The object file of one source, from the cache if the same was compiled before."""
    text = (directory / source).read_bytes()
    if source.startswith("kernels/"):
        compiler = [flag for flag in compiler if not _NOT_FOR_KERNELS.fullmatch(flag)]
    for included in re.findall(rb'#include "(\w+\.c)"', text):
        text += (directory / os.fsdecode(included)).read_bytes()
    headers = [_relevant(directory, path, source, text) for path in sorted(directory.rglob("*.h"))]
    key = _digest(text, *headers, " ".join(compiler).encode(), tool.encode())
    cached = cache_folder() / "objects" / f"{key}.o"
    if not cached.is_file():
        _replace(cached, lambda path: _run([*compiler, "-c", source, "-o", path], directory))
    return cached


def _relevant(directory: Path, header: Path, source: str, text: bytes) -> bytes:
    """What a header says to a source: to a kernel only its dialect, a C library's stand-in and its own prototype."""
    content = header.read_bytes()
    if not source.startswith("kernels/") or header.parent.name in ("isa", "include"):
        return content
    return _own_part(content, source, text) if header.name.endswith("_kernels.h") else b""


def _own_part(content: bytes, source: str, text: bytes) -> bytes:
    """What a header of all kernels says to one: its shape, its prototype."""
    structs = re.sub(
        rb"struct (\w+) \{[^}]*\};", lambda found: found[0] if found[1] in text else b"", content
    )
    own = Path(source).stem.encode()
    prototypes = re.sub(rb"void (\w+)\([^;]*\);", lambda found: found[0] if found[1] == own else b"", structs)
    return b" ".join(prototypes.split())


def _host_flags() -> str:
    """What -march=native means here: objects of another machine must not be reused."""
    done = subprocess.run(
        ["gcc", "-march=native", "-E", "-dM", "-x", "c", os.devnull], capture_output=True, check=False
    )
    return _digest(done.stdout)


def _replace(target: Path, make: Callable[[str], object]) -> None:
    """Make a file under a temporary name and move it to its place, so that nobody sees half of it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, suffix=target.suffix)
    except OSError as error:
        raise InputError(f"cannot write to {target.parent}: {error.strerror}") from error
    os.close(handle)
    try:
        make(name)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)  # a compiler that fails may have removed it
        raise


def _run(command: list[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = _first_error(done.stderr)
        if (
            "static assertion failed" in reason
        ):  # by which generated files say that they do not belong together
            raise damaged(directory, reason)
        raise OdlError(f"building in {directory} failed: {reason}")
    return done.stdout


def _first_error(text: str) -> str:
    lines = [line for line in text.splitlines() if "error" in line.lower()] or text.splitlines()
    return lines[0] if lines else "the compiler gave no reason"


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:32]
