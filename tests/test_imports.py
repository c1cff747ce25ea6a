"""Rooms know only the rooms that docs/rooms.toml lets them know, and modules form no circle.

Every import statement counts the same: at the top of a module, inside a function, under TYPE_CHECKING. An import inside
a function does not break a circle, it only delays it, so it is part of circles too. Two kinds of dependence are not import
statements and are not seen: a package's `__init__`, which Python runs before any module of the package, and modules that
are found by their folder at run time (operators, optimizers, targets).
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("odl", "kernels", "codegen", "targets")


@dataclass(frozen=True)
class Room:
    """What docs/rooms.toml says of a room."""

    name: str
    modules: tuple[str, ...]
    holds: str
    imports: tuple[str, ...]


@dataclass(frozen=True)
class Import:
    """A statement in file `importer` that needs file `imported`, or the package of others of this name."""

    importer: str
    line: int
    imported: str

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def stated() -> tuple[list[Room], dict[str, list[str]]]:
    """The rooms, lowest first, and who may import which package of others."""
    data = tomllib.loads((ROOT / "docs/rooms.toml").read_text(encoding="utf-8"))
    rooms: list[Room] = []
    for room in data["room"]:
        names = [known.name for known in rooms] if room["imports"] == ["*"] else room["imports"]
        rooms.append(Room(room["name"], tuple(room["modules"]), room["holds"], tuple(names)))
    return rooms, data["packages"]


def sources() -> dict[str, str]:
    """The text of every module of odl by its path; odl/kernels and its like are links and are not followed."""
    files = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    found = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}
    return {
        path: text
        for path, text in found.items()
        if not path.startswith(tuple(f"odl/{name}/" for name in FOLDERS))
    }


def module_files(texts: Mapping[str, str]) -> dict[str, str]:
    """The file of every module name."""
    names = {}
    for path in texts:
        parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
        names[".".join(parts if parts[0] == "odl" else ["odl", *parts])] = path
    return names


@cache
def statements(path: str, text: str, module: str) -> tuple[tuple[int, str], ...]:
    """Line and dotted name of everything that a module imports; relative names are resolved."""
    found = []
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")
            package = (
                package[: len(package) - node.level + path.endswith("/__init__.py")] if node.level else []
            )
            base = ".".join([*package, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
    return tuple(found)


def imports(texts: Mapping[str, str]) -> Iterator[Import]:
    """Every import statement of these modules; a name that a module defines stands for the module."""
    files = module_files(texts)
    for module, path in files.items():
        for line, name in statements(path, texts[path], module):
            if name.split(".")[0] != "odl":
                yield Import(path, line, name.split(".")[0])
            else:
                yield Import(path, line, files[name] if name in files else files[name.rpartition(".")[0]])


def room_of(path: str, rooms: list[Room]) -> Room:
    """The room with the longest path that this file is or lies in."""
    found = [
        (len(place), room)
        for room in rooms
        for place in room.modules
        if path == place or path.startswith(f"{place}/")
    ]
    assert found, f"{path} is in no room of docs/rooms.toml"
    return max(found, key=lambda item: item[0])[1]


def forbidden(texts: Mapping[str, str]) -> list[str]:
    """The imports that docs/rooms.toml does not allow."""
    rooms, packages = stated()
    wrong = []
    for item in imports(texts):
        importer = room_of(item.importer, rooms)
        if item.imported in texts:
            imported = room_of(item.imported, rooms)
            if imported is not importer and imported.name not in importer.imports:
                wrong.append(f"{item}: {importer.name} may not know {imported.name}")
        elif importer.name not in packages.get(item.imported, [importer.name]):
            wrong.append(f"{item}: {importer.name} may not know {item.imported}")
    return sorted(wrong)


def circles(texts: Mapping[str, str]) -> list[list[str]]:
    """Sets of modules that need each other: the strongly connected components of more than one (Tarjan 1972)."""
    needs: dict[str, set[str]] = {path: set() for path in texts}
    for item in imports(texts):
        if item.imported in texts:
            needs[item.importer].add(item.imported)
    found: list[list[str]] = []
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for other in sorted(needs[module]):
            if other not in order:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], order[other])
        if lowest[module] == order[module]:
            at = stack.index(module)
            component, stack[at:] = stack[at:], []
            if len(component) > 1 or module in needs[module]:
                found.append(sorted(component))

    for module in needs:
        if module not in order:
            visit(module)
    return sorted(found)


def table() -> str:
    """The table of docs/design.md."""
    rooms, _ = stated()
    lines = ["| room | where | what it holds | may import |", "|---|---|---|---|"]
    for index, room in enumerate(rooms):
        missing = [known.name for known in rooms[:index] if known.name not in room.imports]
        known = ", ".join(room.imports) or "nothing"
        if len(missing) < len(room.imports):
            known = "every room above" + (f" but {', '.join(missing)}" if missing else "")
        lines.append(
            f"| {room.name} | {', '.join(f'`{place}`' for place in room.modules)} | {room.holds} | {known} |"
        )
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return sources()


def test_every_module_is_in_a_room_and_every_room_has_modules(texts):
    rooms, _ = stated()
    assert {room_of(path, rooms).name for path in texts if path != "odl/kernels"} == {
        room.name for room in rooms
    }


def test_rooms_know_only_rooms_below_them():
    rooms, packages = stated()
    names = [room.name for room in rooms]
    assert len(set(names)) == len(names)
    for index, room in enumerate(rooms):
        assert set(room.imports) <= set(names[:index]), room.name
    assert set().union(*packages.values()) <= set(names)


def test_no_forbidden_import(texts):
    assert forbidden(texts) == []


def test_no_circle_of_modules(texts):
    assert circles(texts) == []


def test_the_design_shows_the_same_table():
    assert table() in (ROOT / "docs/design.md").read_text(encoding="utf-8"), table()


STATEMENTS = {
    "at the top": "import odl.codegen.project\n",
    "from": "from odl.codegen.project import render_project\n",
    "a module from a package": "from odl.codegen import project\n",
    "inside a function": "def late():\n    from odl.codegen.project import render_project\n",
    "for types": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from odl.codegen import project\n",
    "relative": "from ..codegen import project\n",
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_an_injected_forbidden_import_is_seen(texts, statement):
    changed = {**texts, "odl/graph/ir.py": texts["odl/graph/ir.py"] + "\n" + statement}
    (seen,) = set(forbidden(changed)) - set(forbidden(texts))
    assert seen.startswith("odl/graph/ir.py:")
    assert seen.endswith("imports codegen/project.py: graph may not know codegen")


def test_an_injected_package_of_others_is_seen(texts):
    changed = {**texts, "codegen/names.py": texts["codegen/names.py"] + "\nimport torch.nn\n"}
    (seen,) = set(forbidden(changed)) - set(forbidden(texts))
    assert seen.endswith("imports torch: codegen may not know torch")


@pytest.mark.parametrize("late", [False, True])
def test_an_injected_circle_is_seen(texts, late):
    """Inside one room, where no room's rule is broken."""
    statement = "from odl.operators.pooling import *\n"
    text = f"def late():\n    {statement.replace('*', 'MaxPool')}" if late else statement
    changed = {**texts, "odl/operators/base.py": texts["odl/operators/base.py"] + "\n" + text}
    assert forbidden(changed) == forbidden(texts)
    assert any(
        {"odl/operators/base.py", "odl/operators/pooling.py"} <= set(circle) for circle in circles(changed)
    )
    assert not any("odl/operators/pooling.py" in circle for circle in circles(texts))
