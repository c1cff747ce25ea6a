"""The errors a user can meet, each with the exit code the command line gives it.

A message that names an option names it twice, for there are two kinds of reader: `bn="fold"` in Python is `--bn fold`
on the command line. `option` marks such a place in a message, and an error spells it for its reader.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

#: What surrounds a place with two spellings, and what stands between them; no message has these characters otherwise.
_BEGIN, _BETWEEN, _END = "\x02", "\x1f", "\x03"
_TWO_SPELLINGS = re.compile(f"{_BEGIN}([^{_BETWEEN}]*){_BETWEEN}([^{_END}]*){_END}")


class OdlError(Exception):
    """Base of every error that odl raises on purpose: one clear line, no traceback on the command line.

    `str` spells options as a Python caller writes them.
    """

    exit_code = 1

    def __str__(self) -> str:
        return in_python(self.message)

    @property
    def message(self) -> str:
        """The message with its options still marked, for a longer message that it becomes a part of."""
        return super().__str__()

    @property
    def on_command_line(self) -> str:
        """The message with options as they are typed on a command line."""
        return on_command_line(self.message)


def damaged(directory: Path, reason: str = "") -> InputError:
    """That a project's files are not those that odl wrote."""
    why = f" ({reason})" if reason else ""
    return InputError(f"{directory} is damaged; compile it again with odl compile -o{why}")


class CheckFailedError(OdlError):
    """A check ran and did not hold (exit code 1)."""

    exit_code = 1


class InputError(OdlError):
    """The model, the data or an option is at fault (exit code 2). The message says what, where and what to do."""

    exit_code = 2


class MissingToolError(OdlError):
    """A program that odl needs is missing or too old (exit code 3). The message names it and how to get it."""

    exit_code = 3


class CompileWarning(UserWarning):
    """Something that a compiled network will do other than its maker may think."""


def in_python(message: str) -> str:
    """A message with its options as a Python caller writes them."""
    return _TWO_SPELLINGS.sub(r"\1", message)


def on_command_line(message: str) -> str:
    """A message with its options as they are typed on a command line."""
    return _TWO_SPELLINGS.sub(r"\2", message)


def option(field: str, *values: object) -> str:
    """Part of an error's message: an option by its name in Python, alone, with a value, or with a choice of values.

    `option("bn", "fold", "frozen")` reads `bn="fold" or "frozen"`, on the command line `--bn fold or frozen`.
    """
    python, typed = field, f"--{field.replace('_', '-')}"
    given = [value for value in values if value is not None]
    if given:
        python += "=" + " or ".join(_literal(value) for value in given)
    if given and given[0] is not True:
        typed += " " + " or ".join(str(value) for value in given)
    return either(python, typed)


def either(python: str, command_line: str) -> str:
    """Part of an error's message that a Python caller and a user of the command line must read in different words."""
    return f"{_BEGIN}{python}{_BETWEEN}{command_line}{_END}"


def _literal(value: object) -> str:
    """The value as a Python caller writes it."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


__all__ = [
    "CheckFailedError",
    "CompileWarning",
    "InputError",
    "MissingToolError",
    "OdlError",
    "either",
    "in_python",
    "on_command_line",
    "option",
]
