"""cppcheck with its MISRA C:2012 addon: the required and mandatory rules.

The rules' texts are not free, so rules are numbers here. Their categories are those of MISRA C:2012, Appendix B.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator

from benchmarks.assurance.findings import Finding, source_line
from benchmarks.assurance.projects import Compilation
from benchmarks.assurance.tools import CPPCHECK, run

CHECKER = "misra"
#: Advisory rules; every other one counts as required.
ADVISORY = frozenset(
    f"{chapter}.{rule}"
    for chapter, rules in {
        1: (2,),
        2: (3, 4, 5, 6, 7),
        4: (2,),
        5: (9,),
        8: (7, 9, 11, 13),
        10: (5,),
        11: (4, 5),
        12: (1, 3, 4),
        13: (3, 4),
        15: (1, 4, 5),
        17: (5, 8),
        18: (4, 5),
        19: (2,),
        20: (1, 5, 10),
        21: (12,),
    }.items()
    for rule in rules
)
_LINE = re.compile(r"(.*?)\|(\d+)\|misra-c2012-([\d.]+)\|")


def check(compilation: Compilation) -> Iterator[Finding]:
    """Every finding against a required rule. CheckFailedError where cppcheck cannot read a file."""
    platform = "unix64" if compilation.on_host else "unix32"
    with tempfile.TemporaryDirectory(prefix="odl-misra-") as folder:
        done = run(
            [
                *(CPPCHECK.path, "--std=c11", f"--platform={platform}", "--quiet", "--addon=misra"),
                *("--template={file}|{line}|{id}|{message}", f"--cppcheck-build-dir={folder}"),
                *(compilation.preprocessor_flags),
                *compilation.sources,
            ],
            compilation.directory,
        )
    yield from _findings(compilation, done.stderr)


def _findings(compilation: Compilation, output: str) -> Iterator[Finding]:
    for line in output.splitlines():
        found = _LINE.match(line)
        if found is None:
            yield Finding(CHECKER, "unreadable", "", "", line)
        elif found[3] not in ADVISORY:
            text = source_line(compilation.directory, found[1], int(found[2]))
            yield Finding(CHECKER, found[3], found[1], text)
