"""The cache of built things, the copy of the RTL, and the tools that may be missing."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from pathlib import Path

import pytest

from odl.errors import InputError, MissingToolError
from odl.targets.common.build_cache import build_once, cache_folder, digest
from odl.targets.cv32e40p import build_simulator as simulator
from odl.targets.cv32e40p import find_tools as tools
from odl.targets.cv32e40p import rtl_copy
from odl.targets.cv32e40p.description import Cluster, InstructionCache


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("ODL_SIMULATOR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def _slow_build(folder: Path) -> None:
    time.sleep(0.3)
    (folder / "built").write_text("whole")
    with (folder.parent / "builds").open("a") as log:
        log.write("x")


def _build_in_process(_: int) -> str:
    return (build_once("thing", "key", _slow_build) / "built").read_text()


def test_two_processes_build_once(cache):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_build_in_process, range(2)) == ["whole", "whole"]
    assert (cache / "odl" / "thing" / "builds").read_text() == "x"


def test_a_failed_build_leaves_nothing(cache):
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise MissingToolError("no compiler")

    with pytest.raises(MissingToolError):
        build_once("thing", "key", fail)
    assert [path.name for path in (cache / "odl" / "thing").iterdir()] == ["key.lock"]
    assert (build_once("thing", "key", _slow_build) / "built").exists()


def test_the_simulators_cache_can_be_elsewhere(cache, monkeypatch):
    assert cache_folder() == cache / "odl"
    monkeypatch.setenv("ODL_SIMULATOR_CACHE", str(cache / "other"))
    assert cache_folder() == cache / "other"


def test_digest_tells_apart():
    assert digest(["ab", "c"]) != digest(["a", "bc"])
    assert digest(["ab"]) == digest([b"ab"])


@pytest.mark.usefixtures("simulator_tools")
def test_only_the_fpu_latency_needs_another_build(monkeypatch):
    asked: list[tuple[str, str]] = []

    def note(kind: str, key: str, build: object) -> Path:
        asked.append((kind, key))
        return Path(kind) / key

    monkeypatch.setattr(simulator, "build_once", note)
    monkeypatch.setattr(simulator, "_text_of", lambda files: [])
    first = simulator.build_simulator(Cluster(fpu_latency=0))
    assert simulator.build_simulator(Cluster(fpu_latency=0, cores=3, l1_banks=4, icache=None)) == first
    assert simulator.build_simulator(Cluster(fpu_latency=1)) != first
    dividers = {key for kind, key in asked if kind == "odl_fp_divider"}
    assert len(dividers) == 1


@pytest.mark.usefixtures("simulator_tools")
def test_sources_are_part_of_the_key(monkeypatch):
    monkeypatch.setattr(simulator, "build_once", lambda kind, key, build: Path(kind) / key)
    before = simulator.build_simulator(Cluster())
    monkeypatch.setattr(simulator, "_text_of", lambda files: ["another text"])
    assert simulator.build_simulator(Cluster()) != before


@pytest.mark.usefixtures("simulator_tools")
def test_the_package_stays_as_it_is(tmp_path):
    package = tools.find_rtl().folder
    original = (package / "rtl" / "include" / "cv32e40p_pkg.sv").read_text()
    rtl_copy.copy_rtl(package, Path(simulator.__file__).parent / "rtl", tmp_path, 2)
    assert (package / "rtl" / "include" / "cv32e40p_pkg.sv").read_text() == original
    copy = (tmp_path / "include" / "cv32e40p_pkg.sv").read_text()
    assert "C_XF16 = 1'b1" in copy
    assert "C_LAT_FP16 = 'd2" in copy
    core = (tmp_path / "cv32e40p_id_stage.sv").read_text()
    assert "edge clk" in core
    assert "posedge clk" not in core


@pytest.mark.usefixtures("simulator_tools")
def test_an_unexpected_package_is_refused(tmp_path):
    package = tmp_path / "package"
    shutil.copytree(
        tools.find_rtl().folder / "rtl", package / "rtl", ignore=shutil.ignore_patterns("riscv-dbg")
    )
    shutil.copy(tools.find_rtl().folder / "cv32e40p_fpu_manifest.flist", package)
    file = package / "rtl" / "include" / "cv32e40p_pkg.sv"
    file.write_text(file.read_text().replace("C_XFVEC", "C_OTHER"))
    with pytest.raises(MissingToolError, match=r"cv32e40p_pkg\.sv"):
        rtl_copy.copy_rtl(package, Path(simulator.__file__).parent / "rtl", tmp_path / "copy", 0)


def test_missing_tools_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setattr(tools, "_package_folder", lambda module: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(MissingToolError, match=r"odl\[rtl\]"):
        tools.find_rtl()
    with pytest.raises(MissingToolError, match=r"odl\[rtl\]"):
        tools.find_verilator(tmp_path)
    with pytest.raises(MissingToolError, match=r"g\+\+"):
        tools.find_compiler()


def test_doctor_names_every_missing_part(monkeypatch, tmp_path):
    monkeypatch.setattr(tools, "_package_folder", lambda module: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    findings = tools.check_tools(tmp_path)
    assert [finding.tool for finding in findings] == [
        *("pythondata-cpu-cv32e40p", "verilator", "C++20 compiler", "clang", "lld")
    ]
    assert all(not finding.ok and finding.found is None and finding.remedy for finding in findings)


@pytest.mark.usefixtures("simulator_tools")
def test_doctor_finds_what_the_simulator_is_built_from(tmp_path):
    findings = tools.check_tools(tmp_path)
    assert all(finding.ok and finding.found and finding.found[0].isdigit() for finding in findings), findings


@pytest.mark.parametrize(
    "wrong",
    [
        {"cores": 0},
        {"cores": 17},
        {"fpu_latency": 3},
        {"fpus": 9},
        {"l1_banks": 12},
        {"l1_bytes": 1000},
        {"l2_bytes": 0},
        {"l2_latency": 0},
    ],
    ids=str,
)
def test_impossible_clusters_are_input_errors(wrong):
    with pytest.raises(InputError, match="cluster description"):
        Cluster(**wrong)


def test_impossible_caches_are_input_errors():
    for wrong in ({"private_bytes": 48}, {"shared_bytes": 100}, {"shared_latency": 0}):
        with pytest.raises(InputError, match="instruction cache"):
            InstructionCache(**wrong)
