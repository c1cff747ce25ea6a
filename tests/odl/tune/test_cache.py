"""The file of measurements: atomic, shared, and never lost."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from odl.compiler import compile_network
from odl.errors import InputError
from odl.models import resolve
from odl.options import Options
from odl.precision import Precision
from odl.targets.cv32e40p.description import Cluster
from odl.tune import cache
from odl.tune.case import collect_cases
from odl.tune.job import Measured, Timing
from tests.odl.conftest import Result


def measured(number: int, *cycles: int) -> Measured:
    timings = tuple(Timing(f'{{"tile":{index}}}', value) for index, value in enumerate(cycles))
    return Measured(f'{{"number":{number}}}', timings)


def test_what_is_stored_is_read(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "tuning.json"
    assert cache.read(file) == {}
    wrong = Timing('{"tile":1}', None, "other bits than the host's")
    cache.store(file, [Measured('{"a":1}', (Timing('{"tile":0}', 7), wrong))])
    cache.store(file, [measured(2, 5)])
    assert cache.read(file) == {
        '{"a":1}': {'{"tile":0}': Timing('{"tile":0}', 7), '{"tile":1}': wrong},
        '{"number":2}': {'{"tile":0}': Timing('{"tile":0}', 5)},
    }
    cache.store(file, [measured(2, 6, 8)])
    assert [item.cycles for item in cache.read(file)['{"number":2}'].values()] == [6, 8]
    assert sorted(path.name for path in file.parent.iterdir()) == [".tuning.json.lock", "tuning.json"]


def test_the_same_entries_give_the_same_bytes(tmp_path: Path) -> None:
    cache.store(tmp_path / "a", [measured(1, 5), measured(2, 6)])
    cache.store(tmp_path / "b", [measured(2, 6)])
    cache.store(tmp_path / "b", [measured(1, 5)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def _store_many(file: Path, first: int) -> None:
    for number in range(first, first + 20):
        cache.store(file, [measured(number, number + 1)])


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "tuning.json"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_store_many, args=(file, first)) for first in (0, 100)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(cache.read(file)) == 40


ENTRY = {"key": {"a": 1}, "timings": [{"variant": {"t": 1}, "cycles": 5, "problem": None}]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": "odl tuning 0", "entries": []}',
        json.dumps({"format": cache.FORMAT}),
        json.dumps({"format": cache.FORMAT, "entries": [ENTRY, {"key": 5}]}),
        json.dumps(
            {"format": cache.FORMAT, "entries": [{**ENTRY, "timings": [{"variant": {}, "cycles": 0}]}]}
        ),
        json.dumps({"format": cache.FORMAT, "entries": [ENTRY]})[:-9],
        json.dumps(
            {
                "format": cache.FORMAT,
                "entries": [{**ENTRY, "timings": [{"variant": {}, "cycles": float("nan"), "problem": None}]}],
            }
        ),
    ],
)
def test_a_damaged_file_is_named_and_kept(text: str, tmp_path: Path) -> None:
    file = tmp_path / "tuning.json"
    file.write_text(text)
    for use in (lambda: cache.read(file), lambda: cache.store(file, [measured(1, 5)])):
        with pytest.raises(InputError) as caught:
            use()
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert file.read_text() == text


def test_bytes_that_are_no_text_are_a_damaged_file_too(tmp_path: Path) -> None:
    file = tmp_path / "tuning.json"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="tuning"):
        cache.read(file)


def test_a_damaged_cache_stops_a_compilation_with_one_line(
    cli: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.odl.conftest import MODEL

    file = tmp_path / "tuning.json"
    file.write_text("{")
    monkeypatch.setenv(cache.VARIABLE, str(file))
    assert callable(cli)
    result: Result = cli("compile", MODEL, "-o", tmp_path / "net", "--target", "cv32e40p")
    assert str(file) in result.error(2)


def test_what_odl_brings_along_is_sound() -> None:
    for key, timings in cache.shipped().items():
        entry = json.loads(key)
        assert {"template", "shape", "context", "arguments", "cores", "cluster", "kernel"} == entry.keys()
        assert timings
        assert all(item.problem is None for item in timings.values())


def test_what_odl_brings_along_is_of_today_s_kernels() -> None:
    """A change of a kernel or of a header that it includes makes its measurements stale, which nothing else would say."""
    model = resolve("resnet8")
    options = Options(target="cv32e40p", dtype=Precision.FP16)
    network = compile_network(
        model.module, model.example(1), "resnet8", options, choose=lambda call: call
    ).network
    cases = [case for case in collect_cases(network.schedule, Cluster()) if case.call.variants]
    assert cases and [case.call.kernel.template for case in cases if case.key not in cache.shipped()] == []
