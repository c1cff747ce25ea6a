"""The kernels' libraries, built once a test process."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import pytest

from tests.kernels.kernel_library import SHARED, Runner, compiled, render, unity


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with kernels.h."""
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "kernels.h").write_text(render()[0])
    return folder


@pytest.fixture(scope="session")
def libraries(folder: Path) -> list[ctypes.CDLL]:
    """By gcc with the host's half-precision conversions, and by clang without them."""
    text = {"all": unity(render()[1])}
    files = [compiled(folder, "gcc", ["-march=native", *SHARED], text)]
    if shutil.which("clang-22"):
        files.append(compiled(folder, "clang-22", SHARED, text))
    return [ctypes.CDLL(str(file)) for file in files]


@pytest.fixture(scope="session")
def run(libraries: list[ctypes.CDLL]) -> Runner:
    """Calls kernels."""
    return Runner(libraries)
