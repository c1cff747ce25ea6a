"""The cycles of both networks' training steps against the committed ones, operator by operator.

Simulated cycles repeat exactly, so any difference is a change. `make cycles` writes benchmarks/cycles.json
anew; look at the difference before you commit it.
"""

from __future__ import annotations

import fcntl
import functools
import json
from pathlib import Path
from typing import Any

import pytest

import odl
from odl.bench import Measurement, measure
from odl.errors import MissingToolError
from odl.models import resolve
from odl.targets.cv32e40p import Cluster, build_simulator

BASELINE = Path(__file__).parents[3] / "benchmarks" / "cycles.json"
#: A regression is more than this share of the baseline, and for a single operator also more than a few cycles: code
#: that moves in memory meets the instruction cache differently.
TOLERANCE, SLACK = 0.01, 400
CASES = [
    (model, dtype, cores)
    for model in ("dscnn", "resnet8")
    for dtype in ("fp16", "mixed", "fp32")
    for cores in (8, 1)
]


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


def key_of(model: str, dtype: str, cores: int) -> str:
    return f"{model} {dtype} {cores} cores"


def measured(model: str, dtype: str, cores: int, folder: Path) -> Measurement:
    made = resolve(model)
    build = odl.compile(
        made.module, made.example(1), loss=made.loss, dtype=dtype, cores=cores, target="cv32e40p"
    )
    return measure(build.save(folder / "net"))


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


@pytest.mark.parametrize(("model", "dtype", "cores"), CASES)
def test_no_operator_became_slower(
    model: str, dtype: str, cores: int, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    try:
        build_simulator(Cluster())
    except MissingToolError as error:
        pytest.skip(str(error))
    result = measured(model, dtype, cores, tmp_path)
    found = {
        "cycles": result.cycles,
        "macs": result.macs,
        "operators": {item.name: item.cycles for item in result.operators},
    }
    key = key_of(model, dtype, cores)
    if pytestconfig.getoption("--update-cycles"):
        write_baseline(key, found)
        return
    assert key in baseline(), f"benchmarks/cycles.json knows nothing of '{key}'; `make cycles` writes it"
    assert not regressions(found, baseline()[key])


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
