"""What a checker finds, and the numbered list of what may stand, with reasons (deviations.toml)."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from odl.errors import InputError

DEVIATIONS = Path(__file__).parent / "deviations.toml"


@dataclass(frozen=True)
class Finding:
    """One place that a checker objects to. `text` is the source line, which outlives a line's number.

    `function` is empty where the checker does not tell.
    """

    checker: str
    rule: str
    file: str
    text: str
    message: str = ""
    function: str = ""

    @property
    def part(self) -> str:
        """The part of a project that the file belongs to: network, or its folder (kernels, isa, runtime, host)."""
        folder, slash, _ = self.file.partition("/")
        return folder if slash else "network"

    def __str__(self) -> str:
        place = f"{self.file}, {self.function}" if self.function else self.file
        return f"{self.checker} {self.rule}: {place}: {self.text or self.message}"


@dataclass(frozen=True)
class Deviation:
    """A construct that may stand.

    It covers findings of a rule in some parts of a project, where line and function have their patterns.
    """

    number: int
    checker: str
    rules: tuple[str, ...]
    parts: tuple[str, ...]
    line: str
    reason: str
    function: str = ""

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], re.Pattern[str]]:
        return re.compile(self.line), re.compile(self.function)

    def covers(self, finding: Finding) -> bool:
        """Whether the finding is of this kind."""
        return (
            finding.checker == self.checker
            and finding.rule in self.rules
            and finding.part in self.parts
            and all(
                pattern.search(text) is not None
                for pattern, text in zip(self._patterns, (finding.text, finding.function), strict=True)
            )
        )


@dataclass(frozen=True)
class Verdict:
    """Findings outside the list, deviations that nothing needs, and how many findings each deviation covers."""

    open: tuple[Finding, ...]
    unused: tuple[Deviation, ...]
    covered: Counter[int]

    @property
    def ok(self) -> bool:
        """Whether the list is just what it takes."""
        return not self.open and not self.unused

    def lines(self) -> list[str]:
        """Every objection."""
        return [
            *map(str, self.open),
            *(f"deviation {item.number} ({item.checker}) covers nothing; remove it" for item in self.unused),
        ]


def read_deviations(file: Path = DEVIATIONS) -> tuple[Deviation, ...]:
    """The list. InputError for an entry that is incomplete, out of order or without a reason."""
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["deviation"]
    found = []
    for number, entry in enumerate(entries, 1):
        try:
            item = Deviation(
                entry["number"],
                entry["checker"],
                tuple(entry["rules"]),
                tuple(entry["parts"]),
                entry.get("line", ""),
                entry["reason"].strip(),
                entry.get("function", ""),
            )
            item._patterns  # noqa: B018 - said now where one is wrong
        except (KeyError, TypeError, re.error) as error:
            raise InputError(f"{file}: deviation {number} is wrong: {error}") from error
        if item.number != number or not item.reason or not item.rules or not item.parts:
            raise InputError(f"{file}: deviation {number} needs that number, rules, parts and a reason")
        found.append(item)
    return tuple(found)


def judge(
    findings: Iterable[Finding], deviations: Sequence[Deviation], checker: str, whole: bool = True
) -> Verdict:
    """Compare what one checker found with its part of the list; without `whole` unneeded entries are no objection."""
    own = [item for item in deviations if item.checker == checker]
    left, covered = [], Counter[int]()
    for finding in dict.fromkeys(findings):
        fitting = next((item.number for item in own if item.covers(finding)), None)
        if fitting is None:
            left.append(finding)
        else:
            covered[fitting] += 1
    unused = [item for item in own if not covered[item.number]] if whole else []
    return Verdict(tuple(left), tuple(unused), covered)


def source_line(directory: Path, file: str, line: int) -> str:
    """A line of a project's file without indentation; empty where there is none."""
    lines = (directory / file).read_text(encoding="utf-8").splitlines()
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""
