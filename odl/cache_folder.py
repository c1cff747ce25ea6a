"""Where odl keeps what can be made again: data sets, measurements, objects, programs; how it writes there."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """odl's folder in the user's cache, $XDG_CACHE_HOME/odl or ~/.cache/odl; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path is invalid and must be ignored.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "odl"


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Holds the lock that a file is; the system gives it back when a process dies."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write, which then takes the path's place: a reader sees all of it or nothing. Its folder must exist."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        unfinished = Path(folder) / path.name
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file)
        os.replace(unfinished, path)
