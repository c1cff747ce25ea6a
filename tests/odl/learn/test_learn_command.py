"""`odl learn` as a user meets it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from odl.cli import main
from odl.errors import CheckFailedError
from tests.odl.learn.tiny import ForgetChecks, TwoAndTwo

pytestmark = pytest.mark.usefixtures("private_cache")


def odl(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capfd.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code, *capfd.readouterr()


def test_the_list_names_sources_and_settings(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = odl(capfd, "learn", "list")
    assert code == 0 and not err
    for text in ("new-words", "slda", "arXiv:1909.01520", "samples=240"):
        assert text in out


def test_a_comparison_and_its_report(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odl.learn.scenarios.continual_scenario", lambda text: TwoAndTwo())
    arguments = ("learn", "continual", "--methods", "naive,slda", "--on", "pytorch", "-o", tmp_path)
    code, out, err = odl(capfd, *arguments)
    assert (
        code == 0
        and re.search(r"slda.*pytorch.* 2 .* 100.0 ", out)
        and "run 1 of 4: naive on pytorch, seed 0 ..." in err
    )
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["naive", "slda"]
    again, report = odl(capfd, *arguments), odl(capfd, "learn", "report", tmp_path)
    assert again[:2] == (0, out) and "run" not in again[2] and report[:2] == (0, out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scenario", "nothing"], "there is no continual scenario 'nothing'; there are "),
        (["--methods", "er,nothing"], "there is no continual method 'nothing'; there are "),
        (["--methods", "er,,slda"], "--methods 'er,,slda': nothing stands between two commas"),
        (["--on", "moon"], "--on moon: must be one of fast, exact, pytorch, "),
        (["--split", "train"], "--split train: must be test or validation"),
        (["--dtype", "int8"], "--dtype int8: must be fp32, fp16 or mixed"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], words: str
) -> None:
    code, out, err = odl(capfd, "learn", "continual", "-o", tmp_path / "out", *arguments)
    assert code == 2 and not out and err.startswith(f"odl: {words}") and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_without_results_is_refused(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = odl(capfd, "learn", "report", tmp_path)
    assert code == 2 and err == f"odl: {tmp_path} holds no results of odl learn\n"


def test_forgetting_from_the_command_line(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odl.learn.scenarios.forgetting_scenario", lambda text: ForgetChecks())
    arguments = (
        "learn",
        "unlearn",
        "--methods",
        "original,ssd",
        "--on",
        "pytorch",
        "--seeds",
        "1",
        "--references",
        "2",
    )
    code, out, err = odl(capfd, *arguments, "-o", tmp_path)
    assert code == 0 and "run 2 of 2: ssd on pytorch, seed 0 ..." in err and "noise floor of a gap: " in out
    assert {row["method"] for row in json.loads((tmp_path / "report.json").read_text())["rows"]} == {
        "original",
        "ssd",
    }
    monkeypatch.setattr("odl.learn.forgetting.check_memorised", _nothing)
    code, out, err = odl(capfd, *arguments, "-o", tmp_path / "other")
    assert code == 1 and not out and err.splitlines()[-1] == "odl: nothing is memorised"
    assert not list((tmp_path / "other" / "results").iterdir())


def _nothing(*_: object) -> None:
    raise CheckFailedError("nothing is memorised")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scenario", "new-words"], "there is no scenario of forgetting 'new-words'; there are "),
        (["--methods", "er"], "there is no method that forgets 'er'; there are "),
        (["--references", "1"], "Invalid value for '--references'"),
    ],
)
def test_what_cannot_be_forgotten_is_one_line(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], words: str
) -> None:
    code, out, err = odl(capfd, "learn", "unlearn", "-o", tmp_path / "out", *arguments)
    assert code == 2 and not out and err.startswith(f"odl: {words}") and err.count("\n") == 1
    assert not (tmp_path / "out").exists()
