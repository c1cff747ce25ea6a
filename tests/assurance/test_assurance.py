"""The assurance pack: a small sample of each part, and that every checker finds what is put in its way."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.assurance import analyzers, coverage, cycles, misra, parts, report, tools
from benchmarks.assurance.__main__ import main
from benchmarks.assurance.findings import Deviation, Finding, judge, read_deviations
from benchmarks.assurance.parts import Part
from benchmarks.assurance.projects import Compilation, Extent, Scope, Unseen, listed
from benchmarks.assurance.stacks import StackFigure
from odl.errors import InputError, MissingToolError
from odl.project.manifest import StackEntry
from tests.networks import tiny_build, written


@pytest.fixture
def compilation(tmp_path: Path) -> Compilation:
    """A small project of the host."""
    return Compilation.of(written(tiny_build(dtype="mixed"), tmp_path / "net"))


def needs(*wanted: tools.Tool) -> None:
    for tool in wanted:
        if shutil.which(tool.name) is None:
            pytest.skip(f"no {tool.name}")


def with_fault(compilation: Compilation, text: str) -> Compilation:
    """The project with a function added to its first kernel, which alone is looked at."""
    name = next(name for name in compilation.sources if name.startswith("kernels/"))
    file = compilation.directory / name
    file.write_text(file.read_text() + text)
    return Compilation(compilation.directory, compilation.compiler, compilation.flags, (name,))


def outside(findings: Iterator[Finding], checker: str) -> list[Finding]:
    return list(judge(findings, read_deviations(), checker, whole=False).open)


def test_misra_finds_a_violation_and_nothing_else(compilation: Compilation) -> None:
    needs(tools.CPPCHECK)
    assert outside(misra.check(compilation), misra.CHECKER) == []
    faulty = with_fault(compilation, "int fault(void);\nint fault(void) { return 0123; }\n")
    found = outside(misra.check(faulty), misra.CHECKER)
    assert {item.rule for item in found} == {"7.1"} and "0123" in found[0].text


def test_misra_says_what_it_cannot_read(compilation: Compilation) -> None:
    needs(tools.CPPCHECK)
    faulty = with_fault(compilation, '#include "missing"\nint fault(void) { return (; }\n')
    assert outside(misra.check(faulty), misra.CHECKER)


def test_clang_tidy_finds_a_fault(compilation: Compilation) -> None:
    needs(tools.CLANG_TIDY)
    faulty = with_fault(compilation, "int fault(int *p);\nint fault(int *p) { p = NULL; return *p; }\n")
    assert any("NullDereference" in item.rule for item in outside(analyzers.tidy(faulty), analyzers.TIDY))


def test_gcc_finds_a_fault(compilation: Compilation) -> None:
    needs(tools.GCC)
    faulty = with_fault(compilation, "int fault(void);\nint fault(void) { int *p = NULL; return *p; }\n")
    assert any("null-dereference" in item.rule for item in analyzers.analyze(faulty))


def test_the_same_kernel_is_looked_at_once(compilation: Compilation) -> None:
    unseen = Unseen()
    assert unseen.of(compilation).sources == compilation.sources
    again = unseen.of(compilation).sources
    assert again and not any(name.startswith("kernels/") for name in again)


def test_deviations_are_a_numbered_list_with_reasons(tmp_path: Path) -> None:
    found = read_deviations()
    assert [item.number for item in found] == list(range(1, len(found) + 1))
    file = tmp_path / "deviations.toml"
    entry = '[[deviation]]\nnumber = 1\nchecker = "misra"\nrules = ["1.1"]\nparts = ["isa"]\n'
    for wrong in (entry, f'{entry}reason = " "\n', entry.replace("= 1", "= 2") + 'reason = "so"\n'):
        file.write_text(wrong)
        with pytest.raises(InputError, match="deviation 1"):
            read_deviations(file)


def test_a_deviation_covers_its_kind_and_must_be_needed() -> None:
    one = Deviation(1, "misra", ("1.1",), ("isa",), "here", "so")
    other = Deviation(2, "misra", ("2.1",), ("isa",), "", "so")
    elsewhere = Deviation(3, "coverage", ("never true",), ("isa",), "", "so")
    fits = Finding("misra", "1.1", "isa/a.h", "it is here")
    for stranger in (
        Finding("misra", "1.2", "isa/a.h", "it is here"),
        Finding("misra", "1.1", "kernels/a.c", "it is here"),
        Finding("misra", "1.1", "isa/a.h", "it is away"),
        Finding("clang-tidy", "1.1", "isa/a.h", "it is here"),
    ):
        verdict = judge([fits, stranger], [one, other, elsewhere], "misra")
        assert verdict.open == (stranger,) and verdict.unused == (other,) and not verdict.ok
        assert len(verdict.lines()) == 2
    assert judge([fits], [one, elsewhere], "misra").ok
    of_function = Deviation(1, "misra", ("1.1",), ("isa",), "here", "so", "^f_1$")
    assert not judge([fits], [of_function], "misra").ok
    assert judge([replace(fits, function="f_1")], [of_function], "misra").ok
    assert not judge([replace(fits, function="f_10")], [of_function], "misra").ok


def export(file: Path, function: str, true: int, false: int, shown: list[bool]) -> dict[str, object]:
    record = {
        "name": f"{file}:{function}",
        "filenames": [str(file)],
        "branches": [[2, 5, 2, 6, true, false, 0, 0, 4]],
        "mcdc_records": [[2, 5, 2, 9, 1, 0, 0, 0, 5, shown, []]],
        "regions": [],
    }
    return {"data": [{"functions": [record]}]}


def test_a_branch_that_no_specialisation_takes_is_missing(tmp_path: Path) -> None:
    one, other = (tmp_path / name / "net.c" for name in ("one", "other"))
    for file in (one, other):
        file.parent.mkdir(parents=True)
        file.write_text("int f(int x, int y) {\n    if (x && y) {\n")
    found = coverage.merged([export(one, "f", 3, 0, [True, False])])
    assert found.branches == (1, 2) and found.mcdc == (1, 2)
    assert [item.rule for item in found.missing()] == ["never false"]
    found = coverage.merged([export(one, "f", 3, 0, [True, False]), export(other, "f", 0, 1, [False, True])])
    assert found.branches == (2, 2) and found.mcdc == (2, 2) and not list(found.missing())
    found = coverage.merged([export(one, "f", 3, 0, []), export(other, "g", 0, 1, [])])
    assert found.branches == (2, 4)  # another function


@pytest.mark.parametrize(
    ("lines", "same"),
    [
        (["    if (x && y) {", "    if (x", "        && y) {"], True),
        (["    if (x && y) {", "    if (z && y) {"], False),
        (["    v = f(", "        x && y);", "    v = f(x && y);"], True),
        (["    a = b;", "    if (x && y) {", "#endif", "    if (x && y) {"], True),
    ],
    ids=range(4),
)
def test_a_statement_is_the_same_however_it_is_wrapped(lines: list[str], same: bool, tmp_path: Path) -> None:
    file = tmp_path / "net.c"
    file.write_text("\n".join(["int f(int x, int y) {", *lines]))
    texts = {
        re.sub(r"\s", "", coverage._statement(file, at, at, line.index("y") + 2))
        for at, line in enumerate(lines, 2)
        if "y" in line
    }
    assert len(texts) == (1 if same else 2)


def test_layers_of_networks_are_of_one_template(tmp_path: Path) -> None:
    file = tmp_path / "net.c"
    file.write_text("int f(int x, int y) {\n    if (x && y) {\n")
    found = coverage.merged([export(file, "net_conv", 1, 0, []), export(file, "net_pool", 0, 1, [])])
    assert found.branches == (2, 2)
    found = coverage.merged([export(file, "net_conv", 1, 0, []), export(file, "net_infer", 0, 1, [])])
    assert found.branches == (2, 4)  # a call of the interface is none


def test_a_representative_set_has_the_network_of_every_option() -> None:
    names = [item.name for item in Scope(Extent.REPRESENTATIVE).subjects()]
    assert len(names) == len(set(names)) and set(names) < {item.name for item in Scope().subjects()}
    assert sum(name.startswith("dscnn") for name in names) == 12
    assert {"resnet8 host mixed", "autoencoder cv32e40p mixed", "small host mixed importance"} <= set(names)
    few = [*Scope(Extent.REPRESENTATIVE, "resnet8").subjects(), *Scope(Extent.QUICK).subjects()]
    assert listed(few) == "autoencoder cv32e40p: mixed; autoencoder host: mixed; resnet8 host: mixed"


def test_coverage_of_a_network(tmp_path: Path) -> None:
    """The counting compiler and the driver work together; one network takes many branches, and not all."""
    needs(tools.CLANG, tools.LLVM_COV, tools.LLVM_PROFDATA, tools.GCC)
    found = coverage.measure(tmp_path, 1, tests=False, jobs=1)
    taken, every = found.branches
    assert 100 < taken < every
    assert any(place.file.startswith("kernels/") for place in found.outcomes)


def test_more_stack_than_proven_is_an_objection() -> None:
    proven = StackEntry("device", "clang", (100, 60), 1024, {}, (), ())
    assert StackFigure("a", proven, (100, 60)).ok and StackFigure("a", proven).ok
    assert not StackFigure("a", proven, (104, 60)).ok
    assert not StackFigure("a", proven, (100, 64)).ok
    assert not StackFigure("a", proven, (100, 0)).ok  # nothing was measured


def test_a_spread_is_least_most_and_mean() -> None:
    spread = cycles.Spread.of("step", [10, 14, 12])
    assert (spread.least, spread.most, spread.average) == (10, 14, 12)
    assert spread.relative == pytest.approx(1 / 3)
    assert cycles.Spread.of("step", [5, 5]).relative == 0


def test_cycles_on_the_rtl(tmp_path: Path) -> None:
    try:
        found = cycles.measure("small", parts.SMALL.project(tmp_path), 2)
    except MissingToolError as error:
        pytest.skip(str(error))
    assert 1000 < found.step.least <= found.step.most
    assert sum(item.average for item in found.operators) == pytest.approx(found.step.average)


def test_figures_go_between_the_markers_and_others_stay(tmp_path: Path) -> None:
    document = tmp_path / "assurance.md"
    document.write_text(f"before\n{report._BEGIN}\nold\n{report._END}\nafter\n")
    report.write({"misra": Part("MISRA", {"findings": "0"}, {}, (), ("cppcheck 2",))}, document)
    report.write({"stack": Part("Stack", {"bound": "9 bytes"}, {}, ("too much",), ("gcc 12",))}, document)
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| MISRA | findings | 0 |" in text and "| Stack | bound | 9 bytes |" in text
    assert "| Stack | objections | 1 |" in text
    assert set(json.loads(document.with_suffix(".json").read_text())) == {"misra", "stack"}
    document.write_text("no markers")
    with pytest.raises(InputError, match="markers"):
        report.write({}, document)


def test_a_missing_tool_is_one_line_and_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parts, "CPPCHECK", tools.Tool("cppcheck-of-another-world", "cppcheck"))
    assert main(["--only", "misra", "--quick"]) == 3
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].endswith("is missing; get it with: apt-get install cppcheck")
