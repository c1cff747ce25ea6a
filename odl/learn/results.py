"""A folder of results: one file for each method, engine and seed, written whole or not at all.

Whatever was killed goes on where it stopped: what has a file is done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from odl.cache_folder import replacing
from odl.errors import InputError
from odl.version import VERSION

Result = Mapping[str, Any]
_SETTINGS = "experiment.json"


@dataclass(frozen=True)
class Settings:
    """What all results of a folder have in common.

    `kind` is "continual" or "unlearn"; `references` is how many retrained networks methods are measured by.
    """

    kind: str
    scenario: str
    split: str
    dtype: str
    references: int = 0
    version: str = VERSION


@dataclass(frozen=True)
class Cell:
    """One run: a method as it was typed, an engine, a seed."""

    method: str
    engine: str
    seed: int

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{re.sub(r'[^a-z0-9.=-]+', '_', self.method)}@{self.engine}-{self.seed}.json"


class Folder:
    """The results in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, settings: Settings) -> None:
        """Make the folder, or go on in one of the same settings; InputError where it holds something else."""
        try:
            (self.path / "results").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path}: no folder can be made there ({error.strerror})") from error
        if (self.path / _SETTINGS).exists():
            other = self.settings()
            differing = [k for k, v in asdict(settings).items() if v != getattr(other, k)]
            if differing:
                said = ", ".join(f"{k} {getattr(other, k)}" for k in differing)
                raise InputError(f"{self.path} holds results of {said}; choose another folder with -o")
        else:
            self._write(self.path / _SETTINGS, asdict(settings))

    def settings(self) -> Settings:
        """What was set; InputError where the folder holds no results."""
        try:
            return Settings(**json.loads((self.path / _SETTINGS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{self.path} holds no results of odl learn") from error

    def read(self, cell: Cell) -> Result | None:
        """The cell's result; None where there is none yet."""
        path = self.path / "results" / cell.file
        return self._read(path) if path.exists() else None

    def write(self, cell: Cell, result: Result) -> None:
        """Store a result; InputError where a number in it is not finite."""
        self._write(self.path / "results" / cell.file, {**asdict(cell), **result})

    def read_named(self, name: str) -> Result | None:
        """A value that all cells share; None where there is none yet."""
        path = self.path / f"{name}.json"
        return self._read(path) if path.exists() else None

    def write_named(self, name: str, value: Result) -> None:
        """Store a value that all cells share."""
        self._write(self.path / f"{name}.json", value)

    def all(self) -> list[Result]:
        """Every result, by method, engine and seed."""
        found: Iterable[Result] = (self._read(path) for path in (self.path / "results").glob("*.json"))
        return sorted(found, key=lambda item: (item["method"], item["engine"], item["seed"]))

    def _read(self, path: Path) -> Result:
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is damaged; delete it, and it is made again") from error
        if not isinstance(value, dict):
            raise InputError(f"{path} is damaged; delete it, and it is made again")
        return value

    def _write(self, path: Path, value: Result) -> None:
        try:
            text = json.dumps(value, indent=1, allow_nan=False)
        except ValueError as error:
            raise InputError(f"{path.name}: a figure is not finite, so nothing is reported") from error
        with replacing(path) as unfinished:
            unfinished.write_text(text + "\n", encoding="utf-8")
