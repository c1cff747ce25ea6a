"""What was measured, kept in JSON files: the user's own, and one that odl brings along.

A file is replaced at once and under a lock, so that a reader sees all of it, a kill loses nothing that was stored, and
two processes can store at the same time.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from odl.cache_folder import cache_folder, locked, replacing
from odl.errors import InputError
from odl.tune.job import Measured, Timing
from odl.tune.key import canonical

FORMAT = "odl tuning 1"
#: Names a file to use in place of the user's; "shipped": only what odl brings along; "none": no choice is made.
VARIABLE = "ODL_TUNING"

#: Timings by key and variant.
Timings = Mapping[str, Mapping[str, Timing]]


def user_file() -> Path:
    """The user's cache."""
    named = os.environ.get(VARIABLE, "")
    return Path(named) if named not in ("", "shipped", "none") else cache_folder() / "tuning.json"


def known_timings(file: Path | None = None) -> Timings:
    """What odl brings along and what `file`, by default the user's cache, adds to it.

    InputError where the file is damaged.
    """
    known = {key: dict(timings) for key, timings in shipped().items()}
    if file is None and os.environ.get(VARIABLE) in ("shipped", "none"):
        return known
    for key, timings in read(file or user_file()).items():
        known.setdefault(key, {}).update(timings)
    return known


@functools.cache
def shipped() -> Timings:
    """The measurements that odl brings along."""
    place = resources.files("odl.tune") / "shipped.json"
    return _parse(place.read_text(encoding="utf-8"), "odl's own odl/tune/shipped.json")


def read(path: Path) -> Timings:
    """The timings in a file, none where there is no file. InputError names a file that is damaged or no cache."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(f"cannot read the tuning cache {path}: {reason}") from error
    return _parse(text, str(path))


def store(path: Path, found: Iterable[Measured]) -> None:
    """Add measurements to a file; those of the same key and variant are replaced. InputError as in `read`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock")):
            entries = {key: dict(timings) for key, timings in read(path).items()}
            for item in found:
                timings = entries.setdefault(item.key, {})
                timings.update({timing.variant: timing for timing in item.timings})
            with replacing(path) as unfinished:
                unfinished.write_text(_text(entries), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write the tuning cache {path}: {error.strerror or error}") from error


def _text(entries: Timings) -> str:
    """One entry a line, in the order of their keys, so that files can be compared."""
    lines = []
    for key in sorted(entries):
        timings = [
            {"variant": json.loads(item.variant), "cycles": item.cycles, "problem": item.problem}
            for item in entries[key].values()
        ]
        lines.append(json.dumps({"key": json.loads(key), "timings": timings}))
    body = ",\n".join(lines)
    return f'{{"format": "{FORMAT}", "entries": [\n{body}\n]}}\n'


def _parse(text: str, where: str) -> Timings:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _damaged(where, str(error)) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _damaged(where, f"it does not begin with the format '{FORMAT}'")
    entries = document.get("entries")
    if not isinstance(entries, list):
        raise _damaged(where, "it has no list of entries")
    found: dict[str, dict[str, Timing]] = {}
    for number, entry in enumerate(entries):
        try:
            key = canonical(dict(entry["key"]))
            timings = [_timing(item) for item in entry["timings"]]
        except (TypeError, KeyError, ValueError) as error:
            raise _damaged(where, f"entry {number + 1} is not as odl writes it") from error
        found.setdefault(key, {}).update({item.variant: item for item in timings})
    return found


def _timing(item: Mapping[str, Any]) -> Timing:
    cycles, problem = item["cycles"], item["problem"]
    right = isinstance(cycles, int) and not isinstance(cycles, bool) and cycles > 0 and problem is None
    wrong = cycles is None and isinstance(problem, str)
    if not (right or wrong):
        raise ValueError("neither cycles nor a problem")
    return Timing(canonical(dict(item["variant"])), cycles, problem)


def _damaged(where: str, reason: str) -> InputError:
    return InputError(f"{where} is not a tuning cache: {reason}; repair it, or move it away to measure again")
