"""Measuring on the RTL: right variants have cycles, wrong ones are found whatever is wrong with them."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from odl.errors import InputError, MissingToolError
from odl.targets.cv32e40p.build_simulator import build_simulator
from odl.targets.cv32e40p.description import Cluster
from odl.tune import cache
from odl.tune.case import Case, make_job
from odl.tune.job import Job, Measured
from odl.tune.measure import measure, operands
from odl.tune.report import report
from odl.tune.search import search
from odl.tune.workers import local_processes
from tests.odl.tune.cases import tiny_cases, tiny_jobs


@pytest.fixture(scope="module", autouse=True)
def simulator(private_cache: Path) -> None:
    try:
        build_simulator(Cluster())
    except MissingToolError as error:
        pytest.skip(str(error))


def forward_case(dtype: str = "fp16") -> Case:
    return next(case for case in tiny_cases(dtype) if case.call.kernel.template == "conv2d_forward")


def forward_job() -> Job:
    case = forward_case()
    return make_job(case, case.call.variants[:3], 100_000)


def changed(job: Job, index: int, lines: str) -> Job:
    """The job with lines of C at the end of one variant's kernel."""
    name = job.functions[index]
    text = job.kernels[name]
    end = text.rstrip().rindex("}")
    return replace(job, kernels={**job.kernels, name: text[:end] + lines + "\n}\n"})


@pytest.mark.parametrize("dtype", ["fp16", "mixed", "fp32"])
def test_variants_of_a_tiny_network_are_right(dtype: str) -> None:
    for case in tiny_cases(dtype):
        smallest = case.call.variants[-1]  # and, always, the first
        found = measure(make_job(case, [case.call.variants[1], smallest], 1_000_000))
        assert [item.variant for item in found.timings if item.problem is not None] == []
        assert all(item.cycles is not None and 50 < item.cycles < 200_000 for item in found.timings)


def test_operands_depend_on_the_key_alone() -> None:
    job = forward_job()
    assert operands(job) == operands(job)
    assert operands(job) != operands(replace(job, key=job.key + " "))


WRONG = {
    "device": (
        "#ifdef ODL_ISA_XCV\ny[0] = 1;\n#endif",
        "other bits than the host's, at element 0 of operand y",
    ),
    "both": ("if (core == 0) {\n y[1] = 1;\n}", "other bits than the first variant"),
    "outside": ("y[s->batch * s->out_h * s->out_w * s->out_c + 1] = 1;", "writes outside its outputs"),
    "input": ("((odl_f16 *)(uintptr_t)w)[0] = 0;", "writes outside its outputs, at element 0 of operand w"),
    "endless": (
        "#ifdef ODL_ISA_XCV\nfor (volatile int i = 0; i < 2; i = 0) {\n}\n#endif",
        "fails on the device",
    ),
    "unmapped": ("#ifdef ODL_ISA_XCV\n*(volatile int *)16 = 1;\n#endif", "fails on the device: "),
    "crash": ("#ifndef ODL_ISA_XCV\n*(volatile int *)16 = 1;\n#endif", "fails on the host: "),
    "compile": ("not C;", "does not compile: "),
    "link": ("extern void nowhere(void);\nnowhere();", "fails on the device: "),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_variant_is_found_and_the_others_measured(what: str) -> None:
    lines, complaint = WRONG[what]
    found = measure(changed(forward_job(), 1, lines))
    first, wrong, third = found.timings
    assert wrong.cycles is None
    assert wrong.problem is not None
    assert complaint in wrong.problem, wrong.problem
    assert (first.problem, third.problem) == (None, None)
    assert first.cycles
    assert third.cycles


def test_a_wrong_first_variant_does_not_spoil_the_others() -> None:
    found = measure(changed(forward_job(), 0, WRONG["device"][0]))
    assert [item.problem is None for item in found.timings] == [False, True, True]


def test_a_wrong_variant_is_never_reported_as_the_choice(tmp_path: Path) -> None:
    case = forward_case()
    found = measure(changed(forward_job(), 0, WRONG["both"][0]))
    # All others differ from a wrong first one; the host agrees with each.
    assert [item.problem is None for item in found.timings] == [True, False, False]
    found = measure(changed(forward_job(), 2, WRONG["device"][0]))
    cache.store(tmp_path / "t.json", [found])
    (item,) = report([case], cache.read(tmp_path / "t.json")).cases
    assert item.chosen in (found.timings[0].variant, found.timings[1].variant)
    assert list(item.problems) == [found.timings[2].variant]


def test_a_worker_with_other_kernels_refuses() -> None:
    with pytest.raises(InputError, match="other kernels"):
        measure(replace(forward_job(), headers="0" * 16))


def test_workers_measure_on_the_rtl(tmp_path: Path) -> None:
    """The whole way, small: jobs to processes, simulations, the file."""
    jobs = tiny_jobs(everything=False)[:2]
    seen: list[Measured] = []
    search(jobs, tmp_path / "t.json", functools.partial(local_processes, 1), seen.append)
    assert {item.key for item in seen} == {job.key for job in jobs} == cache.read(tmp_path / "t.json").keys()
    assert all(timing.problem is None for item in seen for timing in item.timings)


def test_a_dask_worker_measures_on_the_rtl(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    from odl.tune.workers import dask_cluster

    job = forward_job()
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        search([job], tmp_path / "t.json", functools.partial(dask_cluster, cluster.scheduler_address))
    assert dict(cache.read(tmp_path / "t.json")[job.key]) == {
        item.variant: item for item in measure(job).timings
    }


def test_a_worker_needs_no_pytorch() -> None:
    command = "import odl.tune.measure, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


def test_cli(cli: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    from tests.odl.conftest import MODEL, Result

    monkeypatch.setenv("COLUMNS", "120")
    file, figures = tmp_path / "t.json", tmp_path / "figures.json"
    options = [
        "tune",
        MODEL,
        "--dtype",
        "fp16",
        "--cores",
        "2",
        "--jobs",
        "1",
        "--cache",
        file,
        "--json",
        figures,
    ]
    result = cli(*options)
    assert isinstance(result, Result)
    assert result.code == 0, result.err
    assert "conv2d_forward" in result.out
    assert "cost model: off by" in result.out
    (row,) = json.loads(figures.read_text())
    assert (row["model"], row["dtype"], row["cores"]) == (MODEL, "fp16", 2)
    assert {item["template"] for item in row["shapes"]} >= {"conv2d_forward", "conv2d_weight_gradient"}
    assert row["cycles"] <= row["default_cycles"]
    assert 0 <= row["model_error"]["mean_relative_error"] < 1
    before = file.read_bytes()
    again = cli(*options)
    assert isinstance(again, Result)
    assert again.code == 0
    assert file.read_bytes() == before
    assert json.loads(figures.read_text()) == [row]


def test_cli_complaints(cli: Callable[..., object], tmp_path: Path) -> None:
    from tests.odl.conftest import MODEL, Result

    def fails(code: int, *options: object) -> str:
        result = cli("tune", MODEL, *options)
        assert isinstance(result, Result)
        return result.error(code)

    assert "only cv32e40p" in fails(2, "--target", "host")
    assert "--dtype fp64" in fails(2, "--dtype", "fp64")
    assert "--jobs" in fails(2, "--jobs", "2", "--scheduler", "tcp://127.0.0.1:1")
    (tmp_path / "t.json").write_text("{")
    assert "t.json" in fails(2, "--cache", tmp_path / "t.json")
