"""Branch coverage and MC/DC of the generated C, as clang counts them, over tests, and over networks at random.

A branch is one outcome of a condition that the C has: its true or its false side (clang's source-based coverage; MC/DC as
in DO-178C, of decisions with several conditions). Most C is written from a template for many types, tiles, layers and
networks: as with templates of C++, a branch of one function and statement is one, whichever specialisation takes it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.assurance.findings import Finding
from benchmarks.assurance.tools import CLANG, GCC, LLVM_COV, LLVM_PROFDATA, run
from odl.errors import CheckFailedError
from odl.project.entry_points import ENTRY_POINTS

CHECKER = "coverage"
ROOT = Path(__file__).resolve().parents[2]
_COUNTING = "-fcoverage-mapping -fcoverage-mcdc"
#: C that is compiled along and is not generated.
_FOREIGN = frozenset({"odl_runtime.h", "power_cuts.c"})
#: Tests that call the C on this machine, which the counting compiler makes.
_TESTS = (
    *(f"tests/kernels/test_{name}.py" for name in ("conv_kernels", "other_kernels", "elementary_functions")),
    *(f"tests/odl/run/test_{name}.py" for name in ("net", "status", "incomplete_batch")),
    *(f"tests/odl/state/test_{name}.py" for name in ("saved_states", "storages")),
    *(f"tests/odl/project/test_{name}.py" for name in ("importance", "log")),
)
#: Without those that compile for a sanitizer or a device, or change the C.
_WITHOUT = "not sanitized and not fault and not cv32e40p and not qemu and not verified"
#: Those of many shapes at random, which take most of the time and meet few branches that no other test meets.
_RANDOM = "many_shapes"
#: What tests of kernels compile: all kernels in one file.
_ALL_KERNELS = "all.c"
#: What the specialisations of one line of a kernel's template differ in: types, the terms that are summed in fp16 at
#: once (an option, for which tests take a small number too), and sizes of register tiles.
_SPECIALISED = (
    (re.compile(r"_f(16|32)\b"), "_T"),
    (re.compile(r"\b8u"), "64u"),
    (re.compile(r"\b\d+(?=u \* ODL_LANES|u <= end)|(?<=store_)\d+|(?<=>= )\d+(?=u$)"), "N"),
)
#: The size of a register tile in the name of a function that is written for several.
_TILE = re.compile(r"\d+x(\d+|partial)$|(?<=^store_)\d+$|(?<=^product_)\d+$|(?<=^tile_)\d+$")
#: How a line ends whose statement goes on.
_CONTINUED = re.compile(r"^\s*[^#\s].*[^;{}:/\s]$")
#: The function of any layer of a network: all are of one template.
_LAYER = "net_<layer>"
#: How llvm-cov names the region where a macro is used.
_EXPANSION = 1


@dataclass(frozen=True)
class Place:
    """A condition (or decision) of the generated C: the statement up to its end, wherever the statement is wrapped."""

    file: str
    """The kernel's template, header or file of a network."""
    function: str
    statement: str
    """Without blanks."""
    text: str = field(compare=False)


@dataclass(frozen=True)
class Coverage:
    """`outcomes`: whether the true and the false side of every condition were taken.

    `pairs`: of every decision with several conditions, for each of them whether it alone was shown to decide.
    """

    outcomes: dict[Place, tuple[bool, bool]]
    pairs: dict[Place, tuple[bool, ...]]

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
            for side, was in zip(("true", "false"), taken, strict=True):
                if not was:
                    yield Finding(CHECKER, f"never {side}", place.file, place.text, function=place.function)


def measure(folder: Path, networks: int, tests: bool = True, random: bool = True, jobs: int = 4) -> Coverage:
    """Drive that many random networks in `folder` and, with `tests`, the tests and states; say what was reached.

    Without `random` the tests that draw many shapes are left out.

    MissingToolError without LLVM, CheckFailedError where a network or a test fails.
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

    def call(what: str, *arguments: str) -> None:
        command = [sys.executable, "-m", *arguments]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no message"]
            raise CheckFailedError(f"{what} ended with code {done.returncode}: {said[-1]}")

    def drive(seed: int) -> None:
        call(f"network {seed}", "benchmarks.assurance.drive", str(projects), str(seed))

    with ThreadPoolExecutor(jobs) as pool:
        options = (
            "-q",
            "-p",
            "no:benchmark",
            "-m",
            "long or not long",
            "-k",
            _WITHOUT if random else f"{_WITHOUT} and not {_RANDOM}",
            "--basetemp",
            str(folder / "tests"),
        )
        others = []
        if tests:
            others.append(pool.submit(call, "the tests", "pytest", *options, *_TESTS))
            others.append(
                pool.submit(call, "saving", "benchmarks.assurance.drive", str(folder / "states"), "states")
            )
        list(pool.map(drive, range(networks)))
        for other in others:
            other.result()
    return merged(_exported(profile) for profile in sorted((folder / "counted").glob("*.profraw")))


def _compiler(folder: Path) -> Path:
    """A folder with a `gcc` that is clang and counts branches.

    A library or program, wherever it is made and however short it lives, has a copy in `counted`, and its counts in a
    profile beside it, to which every process adds that runs it. So has a project in `sources`. Networks with another prefix
    than `net`, whose lines of text are others, are not counted.
    """
    place, counted, sources = (folder / name for name in ("bin", "counted", "sources"))
    for item in (place, counted, sources):
        item.mkdir()
    script = place / "gcc"
    script.write_text(
        f"""#!/bin/sh
case " $* " in *-version*|*" -E "*) exec {GCC.path} "$@" ;; esac
options="{_COUNTING} -fprofile-instr-generate -D_GNU_SOURCE"
if [ -e manifest.json ]; then
    [ -e net.c ] || exec {GCC.path} "$@"
    if [ ! -e "{sources}$PWD" ]; then
        mkdir -p "{sources}$(dirname "$PWD")"
        cp -r . "{sources}/$$" && mv -T "{sources}/$$" "{sources}$PWD" 2>/dev/null || rm -rf "{sources}/$$"
    fi
    options="$options -fcoverage-compilation-dir={sources}$PWD"
fi
output=a.out before=
for argument in "$@"; do
    [ "$argument" = -c ] && exec {CLANG.path} $options "$@" -O0 -w -pthread
    [ "$before" = -o ] && output=$argument
    before=$argument
done
name=$(mktemp -u "{counted}/XXXXXXXXXX")
echo "__attribute__((visibility(\\"hidden\\"))) const char __llvm_profile_filename[] = \\"$name-%m.profraw\\";" > "$name.c"
{CLANG.path} $options "$@" "$name.c" -O0 -w -pthread && cp "$output" "$name"
""",
        encoding="utf-8",
    )
    script.chmod(0o755)
    return place


def _exported(profile: Path) -> dict[str, Any]:
    """What clang counted of one library or program, which is beside its profile."""
    data, binary = profile.with_suffix(".profdata"), profile.with_name(profile.name.partition("-")[0])
    run([LLVM_PROFDATA.path, "merge", str(profile), "-o", str(data)], profile.parent)
    command = [LLVM_COV.path, "export", str(binary), f"--instr-profile={data}"]
    found: dict[str, Any] = json.loads(run(command, profile.parent).stdout)
    return found


def merged(exports: Iterable[dict[str, Any]]) -> Coverage:
    """The sum of several reports of llvm-cov, the same lines of the same functions taken together."""
    outcomes: dict[Place, tuple[bool, bool]] = {}
    pairs: dict[Place, tuple[bool, ...]] = {}
    for export in exports:
        records = [record for data in export["data"] for record in data["functions"]]
        kernels = sorted((item["name"] for item in records if ":" not in item["name"]), key=len, reverse=True)
        for record in records:
            for place, (true, false) in _places(record, kernels, record["branches"], 4):
                before = outcomes.get(place, (False, False))
                outcomes[place] = (before[0] or true > 0, before[1] or false > 0)
            for place, item in _places(record, kernels, record.get("mcdc_records", []), 9):
                shown = tuple(bool(condition) for condition in item[0])
                known = pairs.get(place, (False,) * len(shown))
                pairs[place] = tuple(a or b for a, b in zip(known, shown, strict=True))
    return Coverage(outcomes, pairs)


def _places(
    record: dict[str, Any], kernels: list[str], items: list[list[Any]], at: int
) -> Iterator[tuple[Place, list[Any]]]:
    """Each condition or decision of a function's record, with the numbers or the list that stand at `at` and behind.

    One inside a macro of a header is where the function uses the macro.
    """
    name = record["name"].rpartition(":")[2]
    kernel = next((kernel for kernel in kernels if name == kernel or name.startswith(f"{kernel}_")), "")
    uses = {region[6]: region for region in record["regions"] if region[7] == _EXPANSION}
    for item in items:
        number, (line, _, last_line, end) = item[6], item[:4]
        while number in uses and _text(record, number, line).startswith("#define"):
            number, (line, _, last_line, end) = uses[number][5], uses[number][:4]
        path = Path(record["filenames"][number])
        if path.name in _FOREIGN or path.name.endswith("_debug.c") or name.startswith("test_"):
            continue
        text = _statement(path, line, last_line, end)
        if path.parent.name == "isa":
            file, function = f"isa/{path.name}", name
        elif path.parent.name == "kernels" or path.name == _ALL_KERNELS:
            template = _template(path.stem if path.parent.name == "kernels" else kernel)
            file, function = f"kernels/{template}", _TILE.sub("", name.removeprefix(kernel).lstrip("_"))
            text = _general(text)
        else:
            file, function = path.name, name
            if (
                name.startswith("net_")
                and path.name == "net.c"
                and name.removeprefix("net_") not in ENTRY_POINTS
            ):
                function = _LAYER
        yield Place(file, function, re.sub(r"\s", "", text), text), item[at : at + 2]


def _statement(path: Path, line: int, last: int, end: int) -> str:
    """From the beginning of the statement that has the line to column `end` of the last one."""
    lines = _lines(path)
    first = line
    while first > 1 and _CONTINUED.search(lines[first - 2].rstrip(" \\")):
        first -= 1
    parts = [*lines[first - 1 : last - 1], lines[last - 1][: end - 1]]
    return " ".join(part.rstrip(" \\").strip() for part in parts)


def _general(text: str) -> str:
    """A statement of a kernel as all specialisations of its template have it."""
    for pattern, instead in _SPECIALISED:
        text = pattern.sub(instead, text)
    return text


def _text(record: dict[str, Any], number: int, line: int) -> str:
    return _lines(Path(record["filenames"][number]))[line - 1].strip()


@cache
def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@cache
def _template(name: str) -> str:
    """The template that a kernel of that name is written from; functions of one number have names of their own."""
    known = sorted((path.name.removesuffix(".c.j2") for path in (ROOT / "kernels").glob("*.c.j2")), key=len)
    name = name.removeprefix("net_")
    return next((item for item in reversed(known) if name.startswith(item)), name.rpartition("_")[0])
