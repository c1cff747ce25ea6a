"""Branch coverage and MC/DC of the generated C, as clang counts them, over networks that drive all of it.

A branch is one outcome of a condition that the C has: its true or its false side (clang's source-based coverage; MC/DC as
in DO-178C, of decisions with several conditions). Projects share kernels: the same text is one file, whichever project
reached a branch of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.assurance.findings import Finding
from benchmarks.assurance.tools import CLANG, GCC, LLVM_COV, LLVM_PROFDATA, run
from odl.errors import CheckFailedError

CHECKER = "coverage"
ROOT = Path(__file__).resolve().parents[2]
_COUNTING = "-fprofile-instr-generate -fcoverage-mapping -fcoverage-mcdc"


@dataclass(frozen=True)
class Place:
    """A condition (or decision) in the generated C: file with the hash of its text, and where in it."""

    file: str
    digest: str
    line: int
    column: int
    end: tuple[int, int]


@dataclass(frozen=True)
class Coverage:
    """`outcomes`: whether the true and the false side of every condition were taken.

    `pairs`: of every decision with several conditions, for each of them whether it alone was shown to decide.
    `texts`: each file's lines.
    """

    outcomes: dict[Place, tuple[bool, bool]]
    pairs: dict[Place, tuple[bool, ...]]
    texts: dict[tuple[str, str], list[str]]

    @property
    def branches(self) -> tuple[int, int]:
        """Outcomes taken, and all."""
        return sum(sum(item) for item in self.outcomes.values()), 2 * len(self.outcomes)

    @property
    def mcdc(self) -> tuple[int, int]:
        """Conditions shown to decide alone, and all of decisions with several."""
        return sum(sum(item) for item in self.pairs.values()), sum(map(len, self.pairs.values()))

    def missing(self) -> Iterator[Finding]:
        """Every outcome that was never taken."""
        for place, taken in self.outcomes.items():
            text = self.texts[place.file, place.digest][place.line - 1].strip()
            for side, was in zip(("true", "false"), taken, strict=True):
                if not was:
                    yield Finding(CHECKER, f"never {side}", place.file, text)


def measure(folder: Path, networks: int, jobs: int = 2) -> Coverage:
    """Compile and drive that many random networks in `folder`, and say what was reached.

    MissingToolError without LLVM, CheckFailedError where a network does not run.
    """
    environment = {
        **os.environ,
        "PATH": f"{_compiler(folder)}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "ODL_TUNING": "shipped",
    }
    projects = folder / "projects"
    projects.mkdir()

    def drive(seed: int) -> None:
        command = [sys.executable, "-m", "benchmarks.assurance.drive", str(projects), str(seed)]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or ["no message"]
            raise CheckFailedError(f"network {seed} ended with code {done.returncode}: {said[-1]}")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(drive, range(networks)))
    return merged(_exported(profile) for profile in sorted(projects.glob("*.profraw")))


def _compiler(folder: Path) -> Path:
    """A folder with a `gcc` that is clang and counts branches."""
    place = folder / "bin"
    place.mkdir()
    script = place / "gcc"
    script.write_text(
        f"""#!/bin/sh
case "$*" in
    *-version*) exec {GCC.path} "$@" ;;
    *) exec {CLANG.path} {_COUNTING} -D_GNU_SOURCE "$@" -O1 -w -pthread ;;
esac
""",
        encoding="utf-8",
    )
    script.chmod(0o755)
    return place


def _exported(profile: Path) -> dict[str, Any]:
    """What clang counted of one project, with paths that lead to its files."""
    directory, data = profile.with_suffix(""), profile.with_suffix(".profdata")
    run([LLVM_PROFDATA.path, "merge", str(profile), "-o", str(data)], directory)
    library = next(directory.glob("*_exact.so"))
    command = [LLVM_COV.path, "export", str(library), f"--instr-profile={data}"]
    found: dict[str, Any] = json.loads(run(command, directory).stdout)
    return found


def merged(exports: Iterator[dict[str, Any]]) -> Coverage:
    """The sum of several reports of llvm-cov, files of the same text taken together."""
    outcomes: dict[Place, tuple[bool, bool]] = {}
    pairs: dict[Place, tuple[bool, ...]] = {}
    texts: dict[tuple[str, str], list[str]] = {}
    for export in exports:
        for entry in (item for data in export["data"] for item in data["files"]):
            path = Path(entry["filename"])
            if path.name == "odl_runtime.h":
                continue
            text = path.read_text(encoding="utf-8")
            file = f"{path.parent.name}/{path.name}" if path.parent.name in ("kernels", "isa") else path.name
            digest = hashlib.sha256(text.encode()).hexdigest()
            texts[file, digest] = text.splitlines()
            for line, column, end_line, end_column, true, false, *_ in entry["branches"]:
                place = Place(file, digest, line, column, (end_line, end_column))
                before = outcomes.get(place, (False, False))
                outcomes[place] = (before[0] or true > 0, before[1] or false > 0)
            for record in entry.get("mcdc_records", []):
                place = Place(file, digest, record[0], record[1], (record[2], record[3]))
                shown = tuple(bool(item) for item in next(item for item in record if isinstance(item, list)))
                known = pairs.get(place, (False,) * len(shown))
                pairs[place] = tuple(a or b for a, b in zip(known, shown, strict=True))
    return Coverage(outcomes, pairs, texts)
