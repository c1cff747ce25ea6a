"""What a debugger sees stands in a file of its own, which shows the very source that a product is made of."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from odl.run.library import Debug, ProjectBuild, build_plan
from tests.codegen.golden_texts import SOURCES, build, project
from tests.networks import written


@pytest.mark.parametrize("name", SOURCES)
def test_the_product_has_no_trace_of_observers(name: str) -> None:
    files = project(name)
    for path in ("net.c", "net.h", "net_kernels.h", "net_private.h", "net_state.c", "net_weights.c"):
        assert not re.search(r"observer|odl_mark|OBSERVE|PUBLISH|MARKS|_debug", files[path]), path
    assert "net_debug.c" not in files["CMakeLists.txt"]


def test_only_a_build_that_asks_for_it_has_the_debug_file(tmp_path: Path) -> None:
    directory = written(build("linear"), tmp_path / "net")
    plain = build_plan(directory, ProjectBuild.EXACT)
    shown = build_plan(directory, ProjectBuild.EXACT, Debug.OBSERVE)
    assert "net.c" in plain.sources and "net_debug.c" not in plain.sources
    assert "net.c" not in shown.sources and "net_debug.c" in shown.sources
    assert set(shown.flags) - set(plain.flags) == {"-DNET_OBSERVE"}


def compiled(directory: Path, *more: str) -> str:
    plan = build_plan(directory, ProjectBuild.EXACT, Debug.OBSERVE)
    command = ["gcc", *plan.flags, *more, "-c", "net_debug.c", "-o", str(directory / "debug.o")]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize("name", ["linear", "tiles", "linear accumulate"])
def test_a_table_of_another_source_is_refused_by_the_compiler(name: str, tmp_path: Path) -> None:
    directory = written(build(name), tmp_path / "net")
    assert compiled(directory) == ""
    source = directory / "net.c"
    text = source.read_text()
    source.write_text(text.replace("    odl_barrier();\n", "    odl_barrier();\n    odl_barrier();\n", 1))
    assert "the table is of another net.c" in compiled(directory)
    source.write_text(text.replace("    odl_barrier();\n", "", 1))
    assert "the table is of another net.c" in compiled(directory)


@pytest.mark.parametrize("name", ["linear", "fp32", "mixed", "linear accumulate"])
def test_every_node_is_shown_in_its_order(name: str) -> None:
    net = build(name).load()
    seen: list[tuple[int, int]] = []
    with net.observed(lambda program, node: seen.append((program, node))):
        net.infer(np.full(net.input.shape, 0.5, np.float32))
    programs = net.manifest["programs"]
    (infer,) = (number for number, item in enumerate(programs) if item["name"] == "infer")
    assert seen == [(infer, node) for node in range(len(programs[infer]["nodes"]))]
