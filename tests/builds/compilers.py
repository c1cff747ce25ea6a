"""The compilers that projects must build with, and what each says to a source."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from odl.targets.common import flags

#: Those of Debian, and later ones where they are here.
RELEASES = [
    *(f"gcc-{release}" for release in range(11, 17)),
    *(f"clang-{release}" for release in range(13, 25)),
]
LEVELS = ("-O1", "-O2", "-O3", "-Os")


@dataclass(frozen=True)
class Dialect:
    """One of the meanings of the kernels' vectors on a host, and its macros."""

    name: str
    flags: tuple[str, ...]


DIALECTS = (
    Dialect("exact_2", ("-ffp-contract=off", "-DODL_ISA_HOST_EXACT", "-DODL_LANES_F16=2")),
    Dialect(
        "exact_8", ("-ffp-contract=off", "-DODL_ISA_HOST_EXACT", "-DODL_LANES_F16=8", "-DODL_LANES_F32=4")
    ),
    Dialect("fast", ("-ffp-contract=fast", "-DODL_ISA_HOST_FAST")),
)


def missing(compiler: str) -> str | None:
    """Why a compiler cannot be used here; None where it can."""
    if shutil.which(compiler) is None:
        return f"no {compiler} on this machine"
    probe = subprocess.run([compiler, "-x", "c", "-c", "-", "-o", "/dev/null"], input=b"#include <math.h>\n")
    return f"{compiler} finds no C library" if probe.returncode else None


def sources(project: Path) -> Iterator[Path]:
    """The C files of a project that make up the network."""
    yield from sorted(path for path in project.glob("*.c") if path.name not in ("example.c", "device.c"))
    yield from sorted(project.glob("kernels/*.c"))


def diagnostics(
    compiler: str, project: Path, source: Path, options: Sequence[str], *, runtime: str = "host"
) -> str:
    """What a compiler says to one source at these options, with the warnings of a project's Makefile.

    A debug file, which wants to be told what to do, observes.
    """
    network, debug, _ = source.stem.rpartition("_debug")
    wanted = [f"-D{network.upper()}_OBSERVE"] if debug else []
    command = [
        compiler, *flags.STANDARD, *flags.WARNINGS, *flags.HOST, *wanted, *options,
        "-Iisa", f"-I{runtime}", "-I.", "-c", str(source.relative_to(project)), "-o", "/dev/null",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    if done.returncode or done.stderr:
        return f"{' '.join(command)}\n{done.stderr}"
    return ""
