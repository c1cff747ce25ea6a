"""Where odl keeps what can be made again: data sets, measurements, objects, programs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """odl's folder in the user's cache, $XDG_CACHE_HOME/odl or ~/.cache/odl; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path is invalid and must be ignored.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "odl"
