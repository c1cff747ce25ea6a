"""The cycles of both networks' training steps against the committed ones, operator by operator.

Simulated cycles repeat exactly, so any difference is a change. `make cycles` writes benchmarks/cycles.json
anew; look at the difference before you commit it.
"""

from __future__ import annotations

import fcntl
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import odl
from odl.bench import Measurement, measure
from odl.errors import MissingToolError
from odl.models import resolve
from odl.targets.cv32e40p.build_simulator import build_simulator
from odl.targets.cv32e40p.description import Cluster

BASELINE = Path(__file__).parents[3] / "benchmarks" / "cycles.json"
#: A regression is more than this share of the baseline, and for a single operator also more than a few cycles: code
#: that moves in memory meets the instruction cache differently.
TOLERANCE, SLACK = 0.01, 400


@dataclass(frozen=True)
class Case:
    """A training step: batch 1, SGD, all parameters; `fpus` are shared by the cores, None: one each."""

    model: str
    dtype: str
    cores: int = 8
    bn: str = "fold"
    fpus: int | None = None

    def __str__(self) -> str:
        more = f", bn {self.bn}" if self.bn != "fold" else ""
        more += f", {self.fpus} FPUs" if self.fpus else ""
        return f"{self.model} {self.dtype} {self.cores} cores{more}"


MODELS, DTYPES = ("dscnn", "resnet8"), ("fp16", "mixed", "fp32")
CASES = [
    *(Case(model, dtype, cores) for model in MODELS for dtype in DTYPES for cores in (8, 1)),
    *(Case(model, "fp16", bn="train") for model in MODELS),
    *(Case(model, dtype, fpus=4) for model in MODELS for dtype in ("fp16", "mixed")),
]
#: In `make test` the default cluster with every precision, and one step of every other kind; the rest in `make test-long`.
OFTEN = (
    *(Case(model, dtype) for model in MODELS for dtype in DTYPES),
    Case("dscnn", "mixed", 1),
    Case("dscnn", "fp16", bn="train"),
    Case("resnet8", "fp16", fpus=4),
)


@functools.cache
def baseline() -> dict[str, Any]:
    return json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}


def write_baseline(key: str, found: dict[str, Any]) -> None:
    """Replace one entry; test processes take turns."""
    with BASELINE.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        everything = json.loads(file.read() or "{}")
        everything[key] = found
        file.seek(0)
        file.truncate()
        file.write(json.dumps(dict(sorted(everything.items())), indent=1) + "\n")


def measured(case: Case, folder: Path) -> Measurement:
    made = resolve(case.model)
    build = odl.compile(
        made.module,
        made.example(1),
        loss=made.loss,
        dtype=case.dtype,
        cores=case.cores,
        bn=case.bn,
        target="cv32e40p",
    )
    return measure(build.save(folder / "net"), Cluster(cores=case.cores, fpus=case.fpus))


def regressions(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Where the found cycles are worse than the wanted ones, as text."""
    problems = []
    if not found["cycles"] <= wanted["cycles"] * (1 + TOLERANCE):
        problems.append(f"whole step: {found['cycles']:,} cycles, baseline {wanted['cycles']:,}")
    if found["operators"].keys() != wanted["operators"].keys():
        problems.append(f"other nodes: {sorted(found['operators'].keys() ^ wanted['operators'].keys())}")
    for name in found["operators"].keys() & wanted["operators"].keys():
        now, before = found["operators"][name], wanted["operators"][name]
        if not now <= before * (1 + TOLERANCE) + SLACK:
            problems.append(f"{name}: {now:,} cycles, baseline {before:,}")
    return problems


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case in OFTEN else pytest.mark.long) for case in CASES],
    ids=str,
)
def test_no_operator_became_slower(case: Case, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    try:
        build_simulator(Cluster())
    except MissingToolError as error:
        pytest.skip(str(error))
    result = measured(case, tmp_path)
    found = {
        "cycles": result.count,
        "macs": result.macs,
        "operators": {item.name: item.count for item in result.operators},
    }
    key = str(case)
    if pytestconfig.getoption("--update-cycles"):
        write_baseline(key, found)
        return
    assert key in baseline(), f"benchmarks/cycles.json knows nothing of '{key}'; `make cycles` writes it"
    assert not regressions(found, baseline()[key])


def cycles(*case: Any, **more: Any) -> int:
    return int(baseline()[str(Case(*case, **more))]["cycles"])


@pytest.mark.parametrize(("model", "macs_per_clk"), [("resnet8", 6.5), ("dscnn", 4.0)])
def test_what_the_baseline_promises(model: str, macs_per_clk: float, pytestconfig: pytest.Config) -> None:
    """The floors of a step that later work must not fall below, whatever becomes of single operators."""
    if pytestconfig.getoption("--update-cycles"):
        pytest.skip("the baseline is being written")
    step = cycles(model, "fp16")
    assert baseline()[str(Case(model, "fp16"))]["macs"] / step >= macs_per_clk
    assert step / cycles(model, "mixed") >= 0.85
    assert cycles(model, "fp16", bn="train") / step <= 1.25
    if model == "resnet8":
        assert cycles(model, "fp32") / step >= 1.8
        assert cycles(model, "fp16", 1) / step >= 7.2


def test_a_regression_is_found() -> None:
    wanted = {"cycles": 10_000, "operators": {"a": 8_000, "b": 2_000}}
    assert not regressions({"cycles": 10_100, "operators": {"a": 8_080, "b": 2_020}}, wanted)
    worse = {"cycles": 10_101, "operators": {"a": 8_500, "b": 1_601}}
    assert regressions(worse, wanted) == [
        "whole step: 10,101 cycles, baseline 10,000",
        "a: 8,500 cycles, baseline 8,000",
    ]
    assert regressions({"cycles": float("nan"), "operators": {"a": 1, "b": float("nan")}}, wanted)
    assert regressions({"cycles": 1, "operators": {"a": 1}}, wanted)
