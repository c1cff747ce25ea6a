"""What every file of a project says of where it comes from: its licence, and the header what made it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from importlib import resources

from odl.errors import in_python, on_command_line, option
from odl.learners import Learner
from odl.optimizers import Optimizer
from odl.options import DEFAULTS
from odl.project.network import Network
from odl.version import VERSION

_LICENCE = "SPDX-License-Identifier: Apache-2.0"


def licence() -> str:
    """The licence of what odl writes, and of what it copies into a project."""
    return (resources.files("odl.codegen") / "LICENSE").read_text(encoding="utf-8")


def licensed(path: str, text: str) -> str:
    """A file's text, its licence stated in front where the file takes comments."""
    if path.endswith((".c", ".cpp", ".h", ".S", ".ld")):
        return f"/* {_LICENCE} */\n{text}"
    return f"# {_LICENCE}\n{text}" if path.endswith(("Makefile", "CMakeLists.txt", ".cmake.in")) else text


def made_by(network: Network) -> str:
    """The command, or the call in Python, that makes the project: what differs from the defaults."""
    options = network.options
    given = {
        name: getattr(options, name)
        for name, default in DEFAULTS.items()
        if getattr(options, name) != default
    }
    if network.spec is None:
        arguments = "".join(f", {_in_python(name, value)}" for name, value in given.items())
        return f"odl {VERSION}: odl.compile(model, example_input{arguments})"
    return " ".join([f"odl {VERSION}: odl compile {network.spec}", *_on_command_line(given)])


def _in_python(name: str, value: object) -> str:
    if isinstance(value, Optimizer):
        return f"{name}=odl.{value!r}"
    if isinstance(value, tuple):
        return f"{name}=({', '.join(f'odl.{item!r}' for item in value)},)"
    return in_python(option(name, value))


def _on_command_line(given: dict[str, object]) -> list[str]:
    words: list[str] = []
    for name, value in given.items():
        if isinstance(value, Optimizer):
            words += [_typed(name, value.name), *_changed(value)]
        elif isinstance(value, tuple):
            words.append(_typed(name, ",".join(item.name for item in value)))
            words += [word for item in value for word in _changed(item, f"{item.name}_")]
        else:
            words.append(_typed(name, value))
    return words


def _changed(value: Optimizer | Learner, prefix: str = "") -> Iterator[str]:
    """The options of the settings that are not as they are by themselves."""
    for item in dataclasses.fields(value):
        setting = getattr(value, item.name)
        if setting != item.default:
            words = setting if isinstance(setting, tuple) else (setting,)
            separator = "," if isinstance(value, Learner) else " "
            text = separator.join(word if isinstance(word, str) else repr(word) for word in words)
            yield _typed(f"{prefix}{item.name}", text)


def _typed(name: str, value: object) -> str:
    return on_command_line(option(name, value))
