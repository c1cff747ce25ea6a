"""The option --json: a file, or - for standard output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from odl.errors import InputError


def check_json_file(path: Path | None) -> None:
    """InputError when the file's directory does not exist: said before the work, not after it."""
    if path is not None and not path.parent.is_dir():
        raise InputError(f"--json {path}: there is no directory {path.parent}")


def is_standard_output(path: Path | None) -> bool:
    """Whether the option is -, so that nothing else may be printed there."""
    return str(path) == "-"


def write_json(path: Path | None, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows where the option says; nowhere without it."""
    text = json.dumps(rows, indent=1)
    if is_standard_output(path):
        typer.echo(text)
    elif path is not None:
        path.write_text(text + "\n", encoding="utf-8")
