"""What every file of a project says of where it comes from: its licence, and the header what made it."""

from __future__ import annotations

import dataclasses
from importlib import resources

from odl.errors import in_python, on_command_line, option
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
    return f"{name}=odl.{value!r}" if isinstance(value, Optimizer) else in_python(option(name, value))


def _on_command_line(given: dict[str, object]) -> list[str]:
    words: list[str] = []
    for name, value in given.items():
        if isinstance(value, Optimizer):
            words.append(on_command_line(option(name, value.name)))
            own = type(value)()
            for item in dataclasses.fields(value):
                setting = getattr(value, item.name)
                if setting != getattr(own, item.name):
                    text = " ".join(map(repr, setting)) if isinstance(setting, tuple) else repr(setting)
                    words.append(on_command_line(option(item.name, text)))
        else:
            single = ",".join(value) if isinstance(value, tuple) else value
            words.append(on_command_line(option(name, single)))
    return words
