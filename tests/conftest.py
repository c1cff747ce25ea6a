"""What all tests share: one thread each, property tests with the same examples everywhere, golden texts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Before NumPy or PyTorch is imported: the test processes share the cores, and the order of sums stays fixed.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# Two test processes beside each other are better use of two processors than two threads of one simulation.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("ODL_SIMULATOR_THREADS", "1")

# Simulators take a minute to build: they stay in the user's cache even where tests put everything else elsewhere.
_CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
os.environ.setdefault("ODL_SIMULATOR_CACHE", str(Path(_CACHE) / "odl"))
# Projects never ask for it themselves.
os.environ.setdefault("WERROR", "1")
# What a machine has measured does not change what tests compile.
os.environ.setdefault("ODL_TUNING", "shipped")

# No deadline and no health check on time: nothing here may depend on how fast the machine is.
settings.register_profile(
    "odl",
    derandomize=True,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("odl")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="run only the golden tests and write their expected texts anew (`make golden`)",
    )
    parser.addoption(
        "--update-cycles",
        action="store_true",
        help="write benchmarks/cycles.json anew instead of comparing with it (`make cycles`)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes hours, unless -m asks for it or the cycle baseline is written; with --update-golden, every test
    without an expected text."""
    brief = "long" not in config.getoption("markexpr") and not config.getoption("--update-cycles")
    left_out = [
        item
        for item in items
        if (brief and item.get_closest_marker("long"))
        or (config.getoption("--update-golden") and "golden" not in getattr(item, "fixturenames", ()))
    ]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """odl's cache is a directory of this test run, which all its workers share, and not the user's."""
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    os.environ["XDG_CACHE_HOME"] = str(cache)
    return cache


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)` compares text with the file golden/NAME beside the test, or writes it."""
    folder = Path(request.path).parent / "golden"
    update = bool(request.config.getoption("--update-golden"))

    def check(name: str, text: str) -> None:
        file = folder / name
        if update:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            return
        assert file.is_file(), f"{file} is missing: `make golden` writes it"
        assert text == file.read_text(encoding="utf-8"), f"not the text of {file}; if intended: `make golden`"

    return check
