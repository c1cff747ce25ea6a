"""What ships builds without a warning on every gcc and clang, at every level: all of them in `make test-long`."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import odl
from odl import zoo
from odl.codegen.project import write_project
from tests.builds.compilers import DIALECTS, LEVELS, RELEASES, Dialect, diagnostics, missing, sources
from tests.networks import tiny_build

DTYPES = ("fp32", "fp16", "mixed")
SMALL: tuple[dict[str, Any], ...] = (
    {"bn": "train"},
    {"optimizer": odl.Adam()},
    {"optimizer": odl.RMSprop()},
    {"accumulate": True},
    {"batch": 3, "loss": "mse"},
    {"target": "cv32e40p", "bn": "frozen"},
    {"learn": "importance", "accumulate": True},
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("projects")


@cache
def small(folder: Path, dtype: str) -> list[Path]:
    """Every distinct source of the small networks of a type, in projects that are written once."""
    projects = []
    for number, options in enumerate(SMALL):
        projects.append(folder / f"small_{number}_{dtype}")
        write_project(tiny_build(dtype=dtype, runtime="none", **options).compiled.network, projects[-1])
    return distinct(projects)


@cache
def of_the_zoo(folder: Path, dtype: str) -> list[Path]:
    projects = []
    for name, model in zoo.MODELS.items():
        torch.manual_seed(0)
        build = odl.compile(
            model.factory(), torch.zeros(1, *model.input_shape),
            loss=model.loss, dtype=dtype, name=name, runtime="none",
        )  # fmt: skip
        projects.append(folder / f"{name}_{dtype}")
        write_project(build.compiled.network, projects[-1])
    return distinct(projects)


def distinct(projects: Sequence[Path]) -> list[Path]:
    """Sources of the projects, of those that differ in names alone the first."""
    found: dict[str, Path] = {}
    for project in projects:
        for source in sources(project):
            if source.parent == project:
                found[str(source)] = source
            else:
                text = source.read_text().replace(source.stem, "")
                found.setdefault(hashlib.sha256(text.encode()).hexdigest(), source)
    return list(found.values())


def said(compiler: str, files: Sequence[Path], options: Sequence[str]) -> list[str]:
    """What a compiler says to each of the sources, without silence."""
    project = [file.parent if file.parent.name != "kernels" else file.parents[1] for file in files]
    return [
        text
        for folder, file in zip(project, files, strict=True)
        if (text := diagnostics(compiler, folder, file, options))
    ]


@pytest.mark.long
@pytest.mark.parametrize("networks", [small, of_the_zoo], ids=["small", "zoo"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("native", [False, True], ids=["portable", "native"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("compiler", RELEASES)
def test_no_compiler_warns(compiler, level, dialect, native, dtype, networks, folder):
    if reason := missing(compiler):
        pytest.skip(reason)
    options = [level, *dialect.flags, *(["-march=native"] if native else [])]
    assert said(compiler, networks(folder, dtype), options) == []


#: Where warnings were once: gcc at -O3, in sums that a vector's lanes are stored for.
SAMPLE = ("conv2d_weight_gradient", "conv2d_forward", "batch_norm_train")


@pytest.mark.parametrize("compiler", RELEASES)
def test_a_sample_of_compilers_warns_of_nothing(compiler, folder):
    """Each at the level that warns most, of a dialect that the next one does not have."""
    if reason := missing(compiler):
        pytest.skip(reason)
    number = RELEASES.index(compiler)
    dialect: Dialect = DIALECTS[number % len(DIALECTS)]
    native = ["-march=native"] if number % 2 else []
    files = [
        file for file in small(folder, DTYPES[number // 2 % 3]) if any(name in file.name for name in SAMPLE)
    ]
    assert len(files) >= len(SAMPLE)
    assert said(compiler, files, ["-O3", *dialect.flags, *native]) == []


def test_a_warning_is_seen(tmp_path):
    """The checker above can fail."""
    (tmp_path / "kernels").mkdir()
    source = tmp_path / "kernels/narrow.c"
    source.write_text(
        "#include <stdint.h>\nuint8_t narrow(int wide);\nuint8_t narrow(int wide) { return wide; }\n"
    )
    compiler = next(name for name in ("gcc", *RELEASES) if shutil.which(name))
    (text,) = said(compiler, [source], ["-O2"])
    assert "onversion" in text
