"""The directory of a project: what odl may replace, and replacing it at once."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from odl.errors import InputError
from odl.project.manifest import is_manifest

#: What building adds to a project's directory, by its prefix; it may be replaced with the project.
_PRODUCTS = ("{}_exact.so", "{}_fast.so", ".{}_exact.key", ".{}_fast.key", "{}.elf", "lib{}.a")


def build_products(prefix: str) -> frozenset[str]:
    """Files that building adds to the directory of a project with that prefix."""
    return frozenset({"example", *(name.format(prefix) for name in _PRODUCTS)})


def check_output(directory: Path) -> None:
    """InputError unless the directory is absent, empty, or an odl project and nothing else."""
    if not directory.exists():
        return
    elsewhere = "choose another directory with -o"
    if not directory.is_dir():
        raise InputError(f"{directory} is a file; {elsewhere}")
    if directory.resolve() == Path.cwd():
        raise InputError(f"{directory} is the current directory, which cannot be replaced; {elsewhere}")
    files = (path for path in directory.rglob("*") if not path.is_dir())
    if next(files, None) is None:
        return
    try:
        earlier = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    except (ValueError, OSError):
        earlier = None
    if not is_manifest(earlier):
        raise InputError(f"{directory} exists and is not an odl project; {elsewhere}")
    products = build_products(earlier.get("prefix", "net"))  # format 1 has none
    found = {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}
    built = {name for name in found if name in products or _is_object(name)}
    foreign = sorted(found - {*earlier["files"], "manifest.json"} - built)
    if foreign:
        raise InputError(
            f"{directory} holds '{foreign[0]}', which is not of odl's making; move it or {elsewhere}"
        )


def replace_project(directory: Path, files: Mapping[str, str]) -> None:
    """Write `files` (text by path) as the directory's only content, all at once; InputError when that fails."""
    place = directory.resolve()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".odl-") as temporary:
            fresh = Path(temporary) / "project"
            for path, text in files.items():
                target = fresh / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8", newline="\n")
            _replace_directory(place, fresh, Path(temporary) / "before")
    except OSError as error:
        raise InputError(f"cannot write the project to {directory}: {error.strerror or error}") from error


def _is_object(name: str) -> bool:
    """Whether a file is one that the Makefile makes for the device."""
    return name.startswith("build/") and name.endswith(".o")


def _replace_directory(place: Path, fresh: Path, before: Path) -> None:
    """Put `fresh` in place; what was there goes to `before`, or back when that fails."""
    existed = place.exists()
    if existed:
        os.replace(place, before)
    try:
        os.replace(fresh, place)
    except BaseException:
        if existed:
            os.replace(before, place)
        raise
