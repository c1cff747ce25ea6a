"""Measuring in parallel: nothing that was measured is lost, whoever dies."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from odl.errors import InputError, MissingToolError, OdlError
from odl.tune import cache
from odl.tune.search import candidates, open_jobs, search
from odl.tune.workers import dask_cluster, local_processes
from tests.odl.tune import fakes
from tests.odl.tune.cases import tiny_cases, tiny_jobs
from tests.odl.tune.fakes import LOG, cycles_of

ROOT = Path(__file__).parents[3]
ONE, TWO = functools.partial(local_processes, 1), functools.partial(local_processes, 2)

#: A search in a process of its own, as a user starts one.
SCRIPT = """
import functools, sys
from pathlib import Path
from odl.tune.search import search
from odl.tune.workers import local_processes
from tests.odl.tune import fakes
if __name__ == "__main__":
    from tests.odl.tune import cases
    search(cases.tiny_jobs(), Path(sys.argv[1]), functools.partial(local_processes, 1), measuring=fakes.slow)
"""


def complete(file: Path) -> bool:
    """Whether every variant of every job is in the file, with the cycles that it has."""
    known = cache.read(file)
    return {job.key for job in tiny_jobs()} == known.keys() and all(
        known[job.key][variant].cycles == cycles_of(job, variant)
        for job in tiny_jobs()
        for variant in job.variants
    )


def test_processes_measure_every_job_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOG, str(tmp_path))
    file = tmp_path / "tuning.json"
    found: list[str] = []
    search(tiny_jobs(), file, TWO, lambda item: found.append(item.key), fakes.slow)
    assert complete(file)
    assert Counter(found) == Counter(job.key for job in tiny_jobs())
    assert len(list(tmp_path.glob("*-*-*"))) == len(tiny_jobs())
    all_cases = [case for dtype in ("fp16", "mixed", "fp32") for case in tiny_cases(dtype)]
    assert open_jobs(all_cases, cache.read(file), everything=True) == []


def test_a_killed_search_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOG, str(tmp_path))
    script, file = tmp_path / "search.py", tmp_path / "tuning.json"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), str(file)], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        while process.poll() is None and len(cache.read(file)) < 3:
            time.sleep(0.01)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    before = cache.read(file)
    assert 3 <= len(before) < len(tiny_jobs())
    _wait_for_workers_to_end(tmp_path)
    for path in tmp_path.glob("*-*-*"):
        path.unlink()
    everything = [case for dtype in ("fp16", "mixed", "fp32") for case in tiny_cases(dtype)]
    left = open_jobs(everything, before, everything=True)
    assert {job.key for job in left} == {job.key for job in tiny_jobs()} - before.keys()
    search(left, file, ONE, measuring=fakes.slow)
    assert complete(file)
    assert len(list(tmp_path.glob("*-*-*"))) == len(left)


def _wait_for_workers_to_end(log: Path) -> None:
    workers = {int(path.name.split("-")[1]) for path in log.glob("*-*-*")}
    assert workers
    for _ in range(500):
        alive = [pid for pid in workers if Path(f"/proc/{pid}").exists()]
        if not alive:
            return
        time.sleep(0.02)
    pytest.fail("workers outlive the process that started them")


def test_a_worker_that_dies_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOG, str(tmp_path))
    search(tiny_jobs(), tmp_path / "tuning.json", TWO, measuring=fakes.deadly)
    assert (tmp_path / "died").exists()
    assert complete(tmp_path / "tuning.json")


def test_workers_that_die_again_and_again_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(OdlError, match="died 3 times"):
        search(tiny_jobs()[:2], tmp_path / "tuning.json", ONE, measuring=fakes.always_deadly)


def test_a_workers_error_is_the_searchs(tmp_path: Path) -> None:
    with pytest.raises(MissingToolError, match="no such tool"):
        search(tiny_jobs()[:2], tmp_path / "tuning.json", ONE, measuring=fakes.complaining)


def test_an_interrupted_search_leaves_no_worker_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LOG, str(tmp_path))

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tiny_jobs(), tmp_path / "tuning.json", TWO, interrupt, fakes.slow)
    assert len(cache.read(tmp_path / "tuning.json")) == 1
    _wait_for_workers_to_end(tmp_path)


def test_candidates_have_the_first_variant_and_no_work_twice() -> None:
    for case in tiny_cases():
        kept = candidates(case)
        assert kept[0] is case.call.variants[0]
        assert set(map(id, kept)) <= set(map(id, case.call.variants))
        assert candidates(case, everything=True) == list(case.call.variants)
    assert sum(len(candidates(case)) for case in tiny_cases()) < sum(
        len(case.call.variants) for case in tiny_cases()
    )


# ---------------------------------------------------------------------------------------------------- Dask
def test_a_dask_cluster_that_loses_a_worker_loses_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv(LOG, str(tmp_path))
    file = tmp_path / "tuning.json"
    finished: list[str] = []
    settings = {"distributed.worker.daemon": False, "distributed.admin.log-format": "%(message)s"}
    dask = pytest.importorskip("dask")
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        workers = client.run(os.getpid)
        assert len(workers) == 2

        def kill_one(found: object) -> None:
            finished.append(found.key)  # type: ignore[attr-defined]
            if len(finished) == len(tiny_jobs()) // 2:
                os.kill(next(iter(workers.values())), signal.SIGKILL)

        pool = functools.partial(dask_cluster, cluster.scheduler_address)
        search(tiny_jobs(), file, pool, kill_one, fakes.slow)
    assert complete(file)
    assert Counter(finished) == Counter(job.key for job in tiny_jobs())


def test_a_scheduler_that_nobody_runs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("odl.tune.workers._PATIENCE", 1)
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        search(tiny_jobs()[:1], tmp_path / "t.json", functools.partial(dask_cluster, "tcp://127.0.0.1:9"))
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        search(tiny_jobs()[:1], tmp_path / "t.json", functools.partial(dask_cluster, "nonsense://"))


def test_without_dask_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingToolError, match=r"odl\[tune-cluster\]"):
        search(tiny_jobs()[:1], tmp_path / "t.json", functools.partial(dask_cluster, "tcp://127.0.0.1:8786"))
