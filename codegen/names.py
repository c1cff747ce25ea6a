"""C identifiers and literals."""

from __future__ import annotations

import math
import re
import textwrap

import numpy as np

_KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int
    long register restrict return short signed sizeof static struct switch typedef union unsigned void
    volatile while
"""
_RESERVED = frozenset(f"{_KEYWORDS} core cores counts state main bool true false NULL INFINITY NAN".split())
#: What generated code names itself, so that a user's name of this form gets an underscore.
_OWN = re.compile(r"(odl|run)_\w*|\w+_shape_\d+", re.IGNORECASE)
#: Characters of a string on one line.
_LONGEST_STRING = 90


def identifier(name: str, prefix: str) -> str:
    """A C identifier for a tensor's or node's name in a network with that prefix."""
    text = re.sub(r"[^0-9A-Za-z_]", "_", name)
    if not text or text[0].isdigit():
        text = f"n{text}"
    own = _OWN.fullmatch(text) or text.lower().startswith(f"{prefix.lower()}_")
    return f"{text}_" if text in _RESERVED or own else text


def unique_identifiers(names: list[str], prefix: str) -> dict[str, str]:
    """An identifier for every name, all different: clashes get a number."""
    taken: set[str] = set()
    result: dict[str, str] = {}
    for name in names:
        base = candidate = identifier(name, prefix)
        number = 2
        while candidate in taken:
            candidate = f"{base}_{number}"
            number += 1
        taken.add(candidate)
        result[name] = candidate
    return result


def float_literal(value: float) -> str:
    """The shortest C literal that reads back as the same fp32 number."""
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    single = np.float32(value)
    text = np.format_float_positional(single, unique=True, trim="-")
    if abs(value) and not 1e-4 <= abs(value) < 1e7:
        text = np.format_float_scientific(single, unique=True, trim="-")
    if "." not in text and "e" not in text:
        text += ".0"
    return f"{text}f"


def comment_text(text: str) -> str:
    """A user's name as it can stand in a C comment: one line that neither opens nor closes one."""
    return " ".join(text.split()).replace("*/", "* /").replace("/*", "/ *")


def string_literal(text: str) -> str:
    """A C string; a long one in parts, between which a line may break."""
    parts = textwrap.wrap(text, _LONGEST_STRING, break_on_hyphens=False)
    return (
        f'"{parts[0]}"'
        if len(parts) == 1
        else "(" + " ".join(f'"{part} "' for part in parts[:-1]) + f' "{parts[-1]}")'
    )
