"""Built things, kept outside the tree under the hash of everything that went into them."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from odl.cache_folder import cache_folder as users_folder
from odl.cache_folder import locked


def cache_folder() -> Path:
    """$ODL_SIMULATOR_CACHE; by default odl's folder in the user's cache."""
    own = os.environ.get("ODL_SIMULATOR_CACHE")
    return Path(own) if own else users_folder()


def digest(parts: Iterable[str | bytes]) -> str:
    """A name for a list of inputs: differs where any of them differs."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()[:24]


def build_once(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder that `build` filled for this key, built now if it is not there.

    Safe when two processes ask at once: one builds, the other waits. A build that fails or is killed leaves nothing
    behind under the final name.
    """
    parent = cache_folder() / kind
    final = parent / key
    if final.is_dir():
        return final
    parent.mkdir(parents=True, exist_ok=True)
    with locked(parent / f"{key}.lock"):
        if final.is_dir():
            return final
        scratch = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=parent))
        try:
            build(scratch)
            scratch.rename(final)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return final
