"""The facts of a target stand in its folder: no other source asks for a target or an instruction set by its name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from odl.targets import HOST, TARGETS

ROOT = Path(__file__).parents[2]
ROOMS = (ROOT / "odl", ROOT / "codegen", ROOT / "kernels")
NAMES = {*TARGETS, *(isa for target in TARGETS.values() for isa in target.isas)}
DIALECTS = {isa.dialect for target in TARGETS.values() for isa in target.instruction_sets if isa.dialect}
#: The folder of the host's runtime in a project, and of the program that the tuner builds for this machine.
FOLDERS = {"codegen/project.py": {"host"}, "odl/tune/build.py": {"host"}}


def named(text: str) -> set[str]:
    """Targets, instruction sets and dialects that a text names; "host" within a text is a word of English."""
    found = set(re.findall(r"\w+", text)) & (NAMES | DIALECTS)
    return found if text == HOST.name else found - {HOST.name}


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string of a module that is not a docstring, with its line."""
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def sources() -> Iterator[Path]:
    for room in ROOMS:
        for path in sorted(room.rglob("*.py")):
            if not any((parent.is_symlink()) for parent in path.parents if parent != ROOT):
                yield path


def test_no_target_is_asked_for_by_its_name() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}: {', '.join(sorted(names))}"
        for path in sources()
        for line, text in texts(ast.parse(path.read_text(encoding="utf-8")))
        if (names := named(text) - FOLDERS.get(str(path.relative_to(ROOT)), set()))
    }
    assert not found, "\n".join(sorted(found))


def test_only_tuning_and_its_bounds_know_a_target_by_its_folder() -> None:
    """They are about one machine: variants of kernels are measured on it, and its parts bound what a node takes."""
    found = {
        str(path.relative_to(ROOT))
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and set((node.module or "").split(".")) & set(TARGETS)
    }
    assert {path for path in found if not path.startswith("odl/tune/")} <= {
        "odl/bench/bounds.py",
        "odl/cli/tune.py",
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [("qemu", {"qemu"}), ("host", {"host"}), ("this host", set()), ("goes with --isa zvfh", {"zvfh"})],
)
def test_names_are_seen(text: str, names: set[str]) -> None:
    assert named(text) == names
