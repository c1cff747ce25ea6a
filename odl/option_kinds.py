"""Kinds of values that options take: how text, JSON or what Python holds becomes such a value, and what it must be."""

from __future__ import annotations

import numbers
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from odl.errors import InputError
from odl.precision import Precision
from odl.prefix import checked_prefix

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """What values an option takes.

    `read` makes the value of what Python, a command line or a manifest holds; ValueError says what it must be.
    `typed`: what a command line makes of the text before that: str, int, float or bool. `write` gives the value as
    JSON has it.
    """

    read: Callable[[object], T]
    typed: type[str] | type[int] | type[float] | type[bool] = str
    write: Callable[[T], object] = lambda value: value


def one_of(*choices: str) -> Kind[str]:
    """One of some words."""

    def read(value: object) -> str:
        if isinstance(value, str) and value in choices:
            return str(value)
        raise ValueError(f"must be one of {', '.join(choices)}")

    return Kind(read)


def whole(low: int, high: int) -> Kind[int]:
    """A whole number with limits, both allowed."""

    def read(value: object) -> int:
        if not isinstance(value, bool) and isinstance(value, numbers.Integral) and low <= int(value) <= high:
            return int(value)
        raise ValueError(f"must be a whole number between {low} and {high}")

    return Kind(read, int)


def number(low: float, high: float) -> Kind[float]:
    """A number with limits, both allowed."""

    def read(value: object) -> float:
        if not isinstance(value, bool) and isinstance(value, numbers.Real) and low <= float(value) <= high:
            return float(value)
        raise ValueError(f"must be between {low:g} and {high:g}")

    return Kind(read, float)


def _whole(value: object) -> int:
    if not isinstance(value, bool) and isinstance(value, numbers.Integral):
        return int(value)
    raise ValueError("must be a whole number")


def _size(value: object) -> int:
    size = parse_size(value) if isinstance(value, str) else _whole(value)
    if size > 0:
        return size
    raise ValueError("must be a positive number of bytes")


def parse_size(text: str) -> int:
    """Bytes of a size such as 65536, 64K, 64KiB, 1.5M; InputError otherwise. K and M are 1024 and 1024²."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKmM]?)(?:i?[bB])?\s*", text)
    if match is None:
        raise InputError(f"'{text}' is not a size; write for example 131072, 128K or 1.5M")
    factor = {"": 1, "k": 1024, "m": 1024**2}[match[2].lower()]
    return int(float(match[1]) * factor)


def _only(wanted: type[T], what: str) -> Callable[[object], T]:
    def read(value: object) -> T:
        if isinstance(value, wanted):
            return value
        raise ValueError(f"must be {what}")

    return read


WHOLE = Kind(_whole, int)
#: Bytes, as a number or as a text such as 64K.
SIZE = Kind(_size)
FLAG = Kind(_only(bool, "True or False"), bool)
TEXT = Kind(_only(str, "a text"))
PREFIX = Kind(checked_prefix)
PRECISION = Kind(lambda value: Precision(one_of(*Precision).read(value)), write=str)
