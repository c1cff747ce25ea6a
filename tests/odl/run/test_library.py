"""Object files are cached by what a source depends on: networks, numbers of cores and onlookers share their kernels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import odl
from odl.errors import MissingToolError
from odl.run.library import ProjectBuild, build_library, build_program
from odl.targets.common.toolchain import find_toolchain


def project(directory: Path, classes: int, **options: object) -> Path:
    """Two layers with the same kernels for any number of classes."""
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, classes))
    return odl.compile(model, torch.zeros(1, 6), prefix="net", **options).save(
        directory / str(len(list(directory.iterdir())))
    )  # type: ignore[arg-type]


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "odl" / "objects"


def test_networks_share_the_objects_of_their_kernels(objects: Path, tmp_path: Path) -> None:
    first, second = (project(tmp_path, classes) for classes in (3, 4))
    build_library(first, ProjectBuild.EXACT)
    before = set(objects.iterdir())
    build_library(second, ProjectBuild.EXACT)
    assert len(list((second / "kernels").iterdir())) > 4
    assert len(set(objects.iterdir()) - before) == len({"net.c", "net_weights.c", "net_state.c"})


def test_programs_for_other_cores_and_with_results_shown_share_them_too(
    objects: Path, tmp_path: Path
) -> None:
    try:
        find_toolchain()
    except MissingToolError as error:
        pytest.skip(str(error))
    first, second = (project(tmp_path, 3, target="cv32e40p", cores=cores) for cores in (2, 4))
    build_program(first, publish=False)
    for directory in (first, second):
        own = [
            path
            for path in directory.rglob("*")
            if path.suffix in (".c", ".S") and not is_shared(path, first)
        ]
        before = set(objects.iterdir())
        build_program(directory, publish=True)
        assert len(set(objects.iterdir()) - before) <= len(own)


def is_shared(source: Path, first: Path) -> bool:
    """Whether the first project has the same kernel; others suit another number of cores."""
    return source.parent.name == "kernels" and (first / "kernels" / source.name).is_file()


def test_a_dialect_and_a_kernel_of_its_own_make_another_object(objects: Path, tmp_path: Path) -> None:
    directory = project(tmp_path, 3)
    build_library(directory, ProjectBuild.EXACT)
    before = set(objects.iterdir())
    header = directory / "isa" / "value_limits.h"
    header.write_text(header.read_text().replace("v <= l->low ? l->low", "v < l->low ? l->low"))
    build_library(directory, ProjectBuild.EXACT)
    sources = [*(directory / "kernels").iterdir(), "net.c", "net_weights.c", "net_state.c"]
    assert len(set(objects.iterdir()) - before) == len(sources)
