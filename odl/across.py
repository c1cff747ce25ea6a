"""One model on several targets at once: `odl verify --target`.

Targets whose vectors have equally many lanes must show the same bits as the host's exact build with that many lanes;
between different widths the order of sums differs, and each keeps to its bound against float64 PyTorch by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from odl.build import Build
from odl.check.report import Key, Report, Row
from odl.check.verify import verify
from odl.errors import InputError, MissingToolError, option
from odl.rebuild import Compile
from odl.run.library import ProjectBuild
from odl.run.net import Net
from odl.targets import HOST, TARGETS

#: Told which column is being worked on.
Announce = Callable[[str], None]


@dataclass(frozen=True)
class Column:
    """One way to run the network: compiled for which target, as which build; `lanes` elements of fp16 are in a vector."""

    title: str
    target: str
    isa: str | None
    lanes: int
    build: ProjectBuild | None = None
    vlen: int | None = None


def _columns() -> Iterator[Column]:
    """For each width the host comes first, and the others must have its bits."""
    kinds = [(target, isa) for target in TARGETS.values() for isa in target.instruction_sets]
    for lanes in sorted({isa.lanes_f16 for _, isa in kinds}):
        same = [(target, isa) for target, isa in kinds if isa.lanes_f16 == lanes]
        target, isa = same[0]
        title = f"{HOST.name}, {lanes} lanes"
        yield Column(title, target.name, isa.name, lanes, build=ProjectBuild.EXACT)
        for target, isa in same:
            if target.is_host:
                continue
            title = target.name if isa.name is None else f"{target.name}, {isa.name}"
            if not isa.vector_bits:
                yield Column(title, target.name, isa.name, lanes)
            for vlen in isa.vector_bits[:2]:  # registers longer than the programs need, too
                yield Column(f"{title} {vlen}", target.name, isa.name, lanes, vlen=vlen)


COLUMNS = tuple(_columns())


@dataclass(frozen=True)
class Comparison:
    """All columns that could run, in the order of COLUMNS, and why the others could not."""

    columns: Mapping[str, Report]
    missing: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether every row of every column holds."""
        return all(report.ok for report in self.columns.values())

    @property
    def keys(self) -> tuple[Key, ...]:
        """Every tensor and what was checked of it, each once."""
        return tuple(dict.fromkeys(row.key for report in self.columns.values() for row in report.rows))

    def cells(self, key: Key) -> Mapping[str, Row | None]:
        """A row of the table: what each column says of a tensor; None where it has no such tensor."""
        return {
            title: next((row for row in report.rows if row.key == key), None)
            for title, report in self.columns.items()
        }

    def as_json(self) -> list[dict[str, Any]]:
        """The rows of `odl verify --json`, each with its target."""
        return [
            {"target": title, **row} for title, report in self.columns.items() for row in report.as_json()
        ]


def wanted_columns(targets: str) -> tuple[Column, ...]:
    """The columns for "all", or for some targets with commas between; the hosts to compare with are always among them."""
    if targets == "all":
        return COLUMNS
    names = targets.split(",")
    known = sorted({column.target for column in COLUMNS})
    for name in names:
        if name not in known:
            raise InputError(f"{option('target', targets)}: must be all, or some of {', '.join(known)}")
    chosen = [column for column in COLUMNS if column.target in names]
    widths = {column.lanes for column in chosen}
    return tuple(
        column
        for column in COLUMNS
        if column in chosen or (column.build is ProjectBuild.EXACT and column.lanes in widths)
    )


def verify_across(
    compile_for: Compile,
    wanted: Sequence[Column] = COLUMNS,
    *,
    all_needed: bool = False,
    steps: int = 1,
    accumulated: int = 8,
    seed: int = 0,
    announce: Announce = lambda title: None,
) -> Comparison:
    """Verify the same steps in every column.

    A column whose tools are missing is left out and named, or with `all_needed` raises MissingToolError.
    """
    builds: dict[tuple[str, str | None], Build] = {}
    columns: dict[str, Report] = {}
    missing: dict[str, str] = {}
    hosts: dict[int, Report] = {}
    for column in wanted:
        announce(column.title)
        key = (column.target, column.isa)
        if key not in builds:
            builds[key] = compile_for(*key)
        try:
            net = builds[key].load(column.build, vlen=column.vlen)
            report = _report(builds[key], net, steps, accumulated, seed)
        except MissingToolError as error:
            if all_needed:
                raise
            missing[column.title] = str(error)
            continue
        host = hosts.setdefault(column.lanes, report)
        columns[column.title] = report if host is report else report.compared(host)
    return Comparison(columns, missing)


def _report(build: Build, net: Net, steps: int, accumulated: int, seed: int) -> Report:
    compiled = build.compiled
    return verify(
        net,
        build.module,
        compiled.network.options.optimizer,
        compiled.trainable,
        steps=steps,
        accumulated=accumulated,
        seed=seed,
    )
