"""Wraps long lines of generated C; templates carry the rest of the formatting, so that no tool is needed to emit."""

from __future__ import annotations

import re

WIDTH = 110


def format_c(text: str) -> str:
    """Generated C with no line over 110 columns where it can be broken, no trailing blanks, no blank-line runs."""
    lines: list[str] = []
    for line in text.splitlines():
        lines.extend(_wrap(line.rstrip()))
    joined = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    joined = re.sub(r"\{\n\n", "{\n", joined)
    joined = re.sub(r"\n\n(\s*\})", r"\n\1", joined)
    return joined.strip("\n") + "\n"


def _wrap(line: str) -> list[str]:
    if len(line) <= WIDTH or line.endswith("\\"):
        return [line]
    if line.lstrip().startswith("/*") and line.endswith("*/"):
        return _wrap_comment(line)
    opening = line.find("(")
    if opening < 0 or opening > WIDTH // 2:
        return [line]
    return _wrap_words(line, " " * (opening + 1))


def _wrap_comment(line: str) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()))
    return _wrap_words(line, indent + "   ")


def _wrap_words(line: str, indent: str) -> list[str]:
    wrapped: list[str] = []
    rest = line
    while len(rest) > WIDTH:
        cut = rest.rfind(" ", len(indent) + 1, WIDTH + 1)
        if cut <= len(indent):
            break
        wrapped.append(rest[:cut].rstrip())
        rest = indent + rest[cut + 1 :]
    return [*wrapped, rest]
