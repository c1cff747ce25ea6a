"""Continual learning from a scenario to its report, and the figures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from odl.errors import InputError
from odl.learn.experiment import cells, continual_result, run_continual
from odl.learn.methods import continual_method, continual_methods
from odl.learn.metrics.continual import continual_figures
from odl.learn.network import Engine
from odl.learn.report import write_report
from odl.learn.results import Cell, Folder, Settings
from odl.learn.trainer import weights_of
from tests.odl.learn.tiny import NETWORK, TwoAndTwo

pytestmark = pytest.mark.usefixtures("private_cache")
SETTINGS = Settings("continual", "two-and-two", "test", "mixed")
SAMPLES = np.array([10, 30])


def test_figures_of_a_matrix_by_hand() -> None:
    matrix = np.array([[90.0, 10.0, 0.0], [95.0, 80.0, 4.0], [50.0, 70.0, 60.0]])
    figures = continual_figures(matrix, np.array([2, 1, 1]), chance=5.0)
    assert figures.acc == pytest.approx(60) and figures.final == pytest.approx(57.5)
    assert figures.bwt == pytest.approx((50 - 90 + 70 - 80) / 2)
    assert figures.forgetting == pytest.approx((95 - 50 + 80 - 70) / 2)
    assert figures.fwt == pytest.approx((5 - 1) / 2)


def test_figures_tell_one_who_forgets_from_one_who_never_learned() -> None:
    """Both end at the same ACC."""
    forgets = continual_figures(np.array([[100.0, 0.0], [0.0, 100.0]]), SAMPLES, 50)
    stays = continual_figures(np.array([[100.0, 0.0], [100.0, 0.0]]), SAMPLES, 50)
    assert forgets.acc == stays.acc
    assert forgets.bwt == -100 and stays.bwt == 0
    assert forgets.final != stays.final


@pytest.mark.parametrize(
    "matrix", [[[1.0]], [[1.0, 2.0]], [[np.nan, 1.0], [1.0, 1.0]], [[101.0, 0.0], [0.0, 0.0]]]
)
def test_what_is_no_accuracy_matrix_is_refused(matrix: list[list[float]]) -> None:
    with pytest.raises(InputError, match="accuracy matrix"):
        continual_figures(np.array(matrix), SAMPLES[: len(matrix)], 50)


@pytest.fixture(scope="module")
def results(private_cache: object) -> dict[str, dict[str, float]]:
    task = TwoAndTwo().prepare(0, "test", lambda *_: None)
    engine = Engine("pytorch", task.module, NETWORK)
    specs = {
        name: f"{name}:rate=0.1" if "rate" in kind.__annotations__ else name
        for name, kind in continual_methods().items()
    }
    specs["er"] += ":samples=40"
    return {
        name: continual_result(continual_method(spec), task, engine, 0, lambda *_: None)["figures"]
        for name, spec in specs.items()
    }


def test_every_method_learns_the_new_classes(results: dict[str, dict[str, float]]) -> None:
    assert {"naive", "joint", "er", "ncm", "slda", "ridge", "fourier"} <= results.keys()
    for name, figures in results.items():
        assert figures["final"] > 40, name


def test_replay_and_heads_forget_less(results: dict[str, dict[str, float]]) -> None:
    assert results["naive"]["bwt"] < -50
    for name in ("joint", "er", "slda", "ridge"):
        assert results[name]["final"] > 85 and results[name]["bwt"] > -15, name
    assert results["naive"]["bytes"] == 0 < results["er"]["bytes"] == 40 * 65 + 4


def test_methods_are_named_and_refused_in_words() -> None:
    for name, kind in continual_methods().items():
        assert kind.paper and kind.equations and kind.__doc__, name
        assert continual_method(name) == kind()
    assert continual_method("er:samples=7:eviction=reservoir").samples == 7  # type: ignore[attr-defined]
    for text, words in (
        ("nothing", "no continual method 'nothing'"),
        ("er:size=3", "no field 'size'; it has samples, eviction"),
        ("er:samples=many", "'many' is no int"),
        ("er:samples=0", "at least 1"),
        ("er:rate=nan", "not finite"),
    ):
        with pytest.raises(InputError, match=words):
            continual_method(text)


def run(path: Path) -> None:
    """What the killed process runs: two methods on three seeds in PyTorch, and one in C."""
    folder = Folder(path)
    folder.begin(SETTINGS)
    methods = {text: continual_method(text) for text in ("naive", "er:samples=20")}
    todo = [*cells(list(methods), ["pytorch"], 3), Cell("naive", "fast", 2)]
    run_continual(TwoAndTwo(), methods, todo, folder, "test", "mixed", lambda *_: None)


def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    script = f"from pathlib import Path\nfrom tests.odl.learn.test_continual import run\nrun(Path({str(tmp_path / 'a')!r}))"
    child = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    results = tmp_path / "a" / "results"
    while len(list(results.glob("*.json"))) < 3:
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert len(list(results.glob("*.json"))) < 7
    run(tmp_path / "a")
    run(tmp_path / "b")
    assert (
        Folder(tmp_path / "a").all() == Folder(tmp_path / "b").all()
        and len(Folder(tmp_path / "a").all()) == 7
    )

    _, rows = write_report(Folder(tmp_path / "a"))
    assert [(row.method, row.engine, row.seeds) for row in rows] == [
        ("er:samples=20", "pytorch", (0, 1, 2)),
        ("naive", "fast", (2,)),
        ("naive", "pytorch", (0, 1, 2)),
    ]
    page = (tmp_path / "a" / "report.html").read_text()
    assert page.count("<svg") == 3 and "er:samples=20" in page
    assert "src=" not in page and 'href="http' not in page.replace("xlink:", "")
    document = json.loads((tmp_path / "a" / "report.json").read_text())
    assert document["scenario"] == "two-and-two" and len(document["rows"]) == 3
    assert (tmp_path / "a" / "accuracy-matrix.png").stat().st_size > 1000


def test_a_folder_is_of_one_experiment(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "x")
    with pytest.raises(InputError, match="holds no results"):
        folder.settings()
    folder.begin(SETTINGS)
    folder.begin(SETTINGS)
    with pytest.raises(InputError, match="holds results of scenario two-and-two; choose another folder"):
        folder.begin(Settings("continual", "other", "test", "mixed"))
    with pytest.raises(InputError, match="no results yet"):
        write_report(folder)
    cell = Cell("naive", "fast", 0)
    with pytest.raises(InputError, match="not finite"):
        folder.write(cell, {"figures": {"final": float("nan")}})
    assert folder.read(cell) is None
    (folder.path / "results" / cell.file).write_text("{")
    with pytest.raises(InputError, match="damaged"):
        folder.read(cell)


def test_pretrained_networks_are_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    first = TwoAndTwo().prepare(3, "test", lambda *_: None)
    monkeypatch.setattr("odl.learn.network.pretrain", None)
    again = TwoAndTwo().prepare(3, "test", lambda *_: None)
    for name, array in weights_of(first.module).items():
        np.testing.assert_array_equal(weights_of(again.module)[name], array)
