"""Static analysis: gcc -fanalyzer of what gcc compiles, clang-tidy of everything."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.assurance.findings import Finding, source_line
from benchmarks.assurance.projects import Compilation
from benchmarks.assurance.tools import CLANG_TIDY, GCC, run

TIDY, ANALYZER = "clang-tidy", "gcc -fanalyzer"
#: Groups of checks. cert-* are the CERT C rules that clang-tidy knows.
CHECKS = "-*,clang-analyzer-*,bugprone-*,cert-*"
_MESSAGE = re.compile(r"(.*?):(\d+):\d+: (?:warning|error): (.*) \[([\w.,=-]+)\]$")


def tidy(compilation: Compilation) -> Iterator[Finding]:
    """What clang-tidy objects to."""
    flags = [flag for flag in compilation.flags if flag not in ("-Werror", "-fno-tree-slp-vectorize")]
    options = [CLANG_TIDY.path, "--quiet", f"--checks={CHECKS}", "--header-filter=.*"]
    yield from _each(
        TIDY, compilation, lambda source: run([*options, source, "--", *flags], compilation.directory).stdout
    )


def analyze(compilation: Compilation) -> Iterator[Finding]:
    """What gcc's analyzer objects to; nothing of a device's C, which gcc does not compile here."""
    if compilation.on_host:
        flags = [flag for flag in compilation.flags if flag != "-Werror"]
        options = [GCC.path, *flags, "-fanalyzer", "-c", "-o", os.devnull]
        yield from _each(
            ANALYZER, compilation, lambda source: run([*options, source], compilation.directory).stderr
        )


def _each(checker: str, compilation: Compilation, look: Callable[[str], str]) -> Iterator[Finding]:
    """The messages of all files, as findings with paths in the project."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for output in pool.map(look, compilation.sources):
            for line in output.splitlines():
                if found := _MESSAGE.match(line):
                    path = Path(found[1])
                    if path.is_absolute() and path.is_relative_to(compilation.directory):
                        path = path.relative_to(compilation.directory)
                    file = os.path.normpath(path)
                    text = source_line(compilation.directory, file, int(found[2]))
                    yield Finding(checker, found[4].split(",")[0], file, text, found[3])
