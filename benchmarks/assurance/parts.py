"""The parts of the pack: each looks at projects in a folder and gives figures, and what is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.assurance import analyzers, coverage, cycles, misra, stacks
from benchmarks.assurance.findings import Finding, judge, read_deviations
from benchmarks.assurance.projects import SMALL_MODEL, Compilation, Extent, Scope, Subject, Unseen, listed
from benchmarks.assurance.tools import CLANG, CLANG_TIDY, CPPCHECK, GCC, LLVM_COV, Tool
from odl.targets.common.toolchain import find_toolchain

#: Branches that the driving networks must take, of those that are not explained.
WANTED_COVERAGE = 0.99
NETWORKS, QUICK_NETWORKS = 24, 1
QUICK_INPUTS = 3
SMALL = Subject("small cv32e40p mixed", SMALL_MODEL, {"target": "cv32e40p", "dtype": "mixed"})
_DSCNN = Subject("dscnn cv32e40p mixed", "dscnn", {"target": "cv32e40p", "dtype": "mixed"})
#: What is trained on the RTL, with how many random samples; and the stacks that are measured there.
INPUTS = ((SMALL, 200), (_DSCNN, 8))
MEASURED_STACKS = frozenset({"autoencoder cv32e40p mixed", "dscnn cv32e40p mixed", "dscnn cv32e40p fp32"})

Say = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """What a part found: figures for a reader, the same and more for a program, objections, and the tools it used."""

    title: str
    figures: Mapping[str, str]
    data: Any
    problems: tuple[str, ...]
    tools: tuple[str, ...]


def check_misra(folder: Path, scope: Scope, say: Say) -> Part:
    """cppcheck's MISRA addon over the projects."""
    return _judged("MISRA C:2012", misra.CHECKER, misra.check, (CPPCHECK,), folder, scope, say)


def check_tidy(folder: Path, scope: Scope, say: Say) -> Part:
    """clang-tidy over the projects."""
    return _judged("clang-tidy", analyzers.TIDY, analyzers.tidy, (CLANG_TIDY,), folder, scope, say)


def check_analyzer(folder: Path, scope: Scope, say: Say) -> Part:
    """gcc's analyzer over the projects of the host."""
    return _judged("gcc -fanalyzer", analyzers.ANALYZER, analyzers.analyze, (GCC,), folder, scope, say)


def check_stack(folder: Path, scope: Scope, say: Say) -> Part:
    """Bounds of stacks, and what cores used."""
    found = []
    subjects = tuple(scope.subjects())
    for subject in subjects:
        say(f"stack of {subject.name}")
        run = subject.name in MEASURED_STACKS
        found.append(stacks.measure(subject.name, subject.project(folder), run))
    device = [item for item in found if item.proven.cores]
    core = max(max(item.proven.cores) for item in device)
    host = max(max(item.proven.entry_points.values()) for item in found if item not in device)
    figures = {
        "projects with a bound": f"{len(found)} ({listed(subjects)})",
        "largest bound of a core of the cluster, and what it has": f"{core:,} of {device[0].proven.reserved:,} bytes",
        "largest bound of an entry point on the host": f"{host:,} bytes",
    }
    for item in found:
        if item.used:
            others = f"{max(item.used[1:])} of {item.proven.cores[1]}"
            figures[f"{item.name}: used on the RTL, of the bound; core 0, others at most"] = (
                f"{item.used[0]} of {item.proven.cores[0]}, {others} bytes"
            )
    problems = tuple(f"{item.name}: a core used more stack than is proven" for item in found if not item.ok)
    data = [dataclasses.asdict(item) for item in found]
    return Part("Stack", figures, data, problems, (GCC.version, _cluster_compiler()))


def check_coverage(folder: Path, scope: Scope, say: Say) -> Part:
    """Branches of the generated C that networks at random reach."""
    place = folder / "coverage"
    place.mkdir()
    networks = QUICK_NETWORKS if scope.quick else NETWORKS
    say(f"coverage by {networks} networks")
    random = scope.extent is Extent.ALL
    found = coverage.measure(place, networks, tests=not scope.quick, random=random)
    return judged_coverage(found, scope, networks)


def judged_coverage(found: coverage.Coverage, scope: Scope, networks: int) -> Part:
    """What was reached, against the list of deviations."""
    verdict = judge(found.missing(), read_deviations(), coverage.CHECKER, whole=scope.whole)
    taken, every = found.branches
    shown, conditions = found.mcdc
    explained = sum(1 for item in found.missing() if item not in verdict.open)
    share = taken / (every - explained)
    figures = {
        "driving networks": str(networks),
        "driving tests": "none"
        if scope.quick
        else f"all{'' if scope.extent is Extent.ALL else ' but those of many shapes at random'}",
        "templates, headers and files of networks": str(len({place.file for place in found.outcomes})),
        "branches taken": f"{taken:,} of {every:,}: {taken / every:.2%}",
        "of the others, explained": f"{explained:,}; without them {share:.2%}",
        "MC/DC: conditions shown to decide alone": f"{shown:,} of {conditions:,}: {shown / max(conditions, 1):.2%}",
    }
    problems = list(verdict.lines()) if not scope.quick and share < WANTED_COVERAGE else []
    data = {"taken": taken, "branches": every, "explained": explained, "mcdc": [shown, conditions]}
    data["missing"] = [str(item) for item in verdict.open]
    return Part("Coverage", figures, data, tuple(problems), (CLANG.version, LLVM_COV.version))


def check_cycles(folder: Path, scope: Scope, say: Say) -> Part:
    """The spread of cycles over random inputs."""
    figures, data = {}, []
    for subject, inputs in ((SMALL, QUICK_INPUTS),) if scope.quick else INPUTS:
        name = subject.name
        say(f"cycles of {name}")
        found = cycles.measure(name, subject.project(folder), inputs)
        step = found.step
        figures[f"{name}: cycles of a step over {found.inputs} inputs"] = (
            f"{step.least:,} to {step.most:,}, mean {step.average:,.0f}: {step.relative:.3%}"
        )
        figures[f"{name}: operators that vary by more than 1 %"] = _varying(found)
        data.append(dataclasses.asdict(found))
    return Part("Cycles", figures, data, (), (_cluster_compiler(),))


#: The parts by the name that --only takes.
PARTS: Mapping[str, Callable[[Path, Scope, Say], Part]] = MappingProxyType(
    {
        "misra": check_misra,
        "tidy": check_tidy,
        "analyzer": check_analyzer,
        "stack": check_stack,
        "coverage": check_coverage,
        "cycles": check_cycles,
    }
)


def _varying(figure: cycles.CycleFigure) -> str:
    wide = [item for item in figure.varying if item.relative > 0.01]
    return "; ".join(f"{item.name} {item.least:,} to {item.most:,}" for item in wide[:6]) or "none"


def _judged(
    title: str,
    checker: str,
    check: Callable[[Compilation], Iterator[Finding]],
    tools: tuple[Tool, ...],
    folder: Path,
    scope: Scope,
    say: Say,
) -> Part:
    """A checker over all projects, against its part of the list of deviations."""
    for tool in tools:
        tool.path  # noqa: B018 - a missing tool is said before the work
    unseen, findings, files = Unseen(), list[Finding](), 0
    looked_at: list[Subject] = []
    for subject in scope.subjects():
        say(f"{checker}: {subject.name}")
        compilation = unseen.of(Compilation.of(subject.project(folder).resolve()))
        files += len(compilation.sources)
        findings += check(compilation)
        looked_at.append(subject)
    deviations = read_deviations()
    verdict = judge(findings, deviations, checker, whole=scope.whole)
    figures = {
        "projects": f"{len(looked_at)} ({listed(looked_at)})",
        "different files": str(files),
        "findings outside the deviations": str(len(verdict.open)),
        "deviations used": ", ".join(
            f"{number} ({count}×)" for number, count in sorted(verdict.covered.items())
        )
        or "none",
    }
    data = {"open": [str(item) for item in verdict.open], "covered": dict(sorted(verdict.covered.items()))}
    return Part(title, figures, data, tuple(verdict.lines()), tuple(tool.version for tool in tools))


def _cluster_compiler() -> str:
    return f"clang-{find_toolchain().release}"
