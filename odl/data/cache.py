"""Sets that are slow to make are kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odl.cache_folder import cache_folder, replacing


def entry(name: str, parameters: Mapping[str, object]) -> Path:
    """Path of the file for the set made with these parameters; any change of them gives another path."""
    text = json.dumps(parameters, sort_keys=True)
    return cache_folder() / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:20]}.npz"


def _digest(x: NDArray[np.float32], y: NDArray[np.int64]) -> str:
    return hashlib.sha256(repr((x.shape, y.shape)).encode() + x.tobytes() + y.tobytes()).hexdigest()


def read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
    """What `write` stored; None when the file is absent, cut short, altered or not ours."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            x, y, digest = stored["x"], stored["y"], str(stored["digest"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if x.dtype != np.float32 or y.dtype != np.int64 or digest != _digest(x, y):
        return None
    return x, y


def write(path: Path, x: NDArray[np.float32], y: NDArray[np.int64]) -> None:
    """Stores a set so that a reader sees all of it or nothing.

    A cache that cannot be written is no error: it only costs time.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished:
            np.savez(unfinished, x=x, y=y, digest=np.array(_digest(x, y)))
    except OSError:
        return
