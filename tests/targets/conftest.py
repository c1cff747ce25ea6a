"""Programs for the cluster, built once per test run, and the tools without which nothing here can run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from odl.errors import MissingToolError
from odl.targets.common.toolchain import find_toolchain
from odl.targets.cv32e40p import find_tools as tools
from odl.targets.pulp.cluster import MemoryLayout
from tests.targets.pulp_programs import build

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="session")
def toolchain() -> None:
    try:
        find_toolchain()
    except MissingToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def simulator_tools(toolchain: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        tools.find_rtl()
        tools.find_verilator(tmp_path_factory.mktemp("verilator"))
        tools.find_compiler()
    except MissingToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def program(toolchain: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Builds files of programs/ into an ELF: program("a.c", "b.S", cores=8, NAME=value, …).

    Headers in the folders `include` come first; they must not change between two calls.
    """
    folder = tmp_path_factory.mktemp("programs")
    built: dict[tuple[object, ...], Path] = {}

    def build_program(
        *files: str,
        include: Sequence[Path] = (),
        layout: MemoryLayout | None = None,
        cores: int = 8,
        controller: bool = False,
        **defines: str | int,
    ) -> Path:
        layout = layout or MemoryLayout(cores=cores, controller=controller)
        key = (files, layout, tuple(include), tuple(sorted(defines.items())))
        if key not in built:
            built[key] = build(
                [PROGRAMS / name for name in files],
                folder / f"{len(built)}.elf",
                layout,
                defines=defines,
                include=[*include, Path(__file__).parents[2] / "kernels"],
                options=("-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"),
            )
        return built[key]

    return build_program
