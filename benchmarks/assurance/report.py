"""docs/assurance.md: the table between its markers, from docs/assurance.json, where every part keeps its latest run."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.assurance.parts import PARTS, Part
from benchmarks.assurance.tools import machine
from odl.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "assurance.md"
_BEGIN, _END = "<!-- figures: written by make assurance -->", "<!-- end of figures -->"


def entries(parts: Mapping[str, Part]) -> dict[str, Any]:
    """The parts as JSON, each with the revision and the machine that it ran on."""
    ran = {"revision": _revision(), "machine": machine()}
    return {name: {**dataclasses.asdict(part), **ran} for name, part in parts.items()}


def table(found: Mapping[str, Any]) -> str:
    """The figures in Markdown."""
    lines = ["| part | what | figure |", "|---|---|---|"]
    for part in found.values():
        ran = f"{', '.join(part['tools'])}; revision {part['revision']}; {part['machine']}"
        figures = {**part["figures"], "objections": str(len(part["problems"])), "by": ran}
        lines += [f"| {part['title']} | {name} | {figure} |" for name, figure in figures.items()]
    return "\n".join(lines)


def write(parts: Mapping[str, Part], document: Path = DOCUMENT) -> None:
    """Put the figures of these parts into the document, and all data into the JSON file beside it; other parts stay.

    InputError where the document has not its markers.
    """
    text = document.read_text(encoding="utf-8")
    if text.count(_BEGIN) != 1 or text.count(_END) != 1:
        raise InputError(f"{document}: the markers of the figures are not there once each")
    file = document.with_suffix(".json")
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    known |= entries(parts)
    ordered = {name: known[name] for name in PARTS if name in known}
    pattern = re.compile(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", re.DOTALL)
    document.write_text(
        pattern.sub(lambda _: f"{_BEGIN}\n\n{table(ordered)}\n\n{_END}", text), encoding="utf-8"
    )
    file.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def _revision() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
