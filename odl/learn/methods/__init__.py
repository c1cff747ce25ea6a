"""One method in each file, found by being there: a frozen dataclass with name, paper, equations, defaults, bytes stored."""

from __future__ import annotations

from functools import cache

from odl.learn.discover import found, made
from odl.learn.method import ContinualMethod, ForgettingMethod


@cache
def continual_methods() -> dict[str, type[ContinualMethod]]:
    """Methods that learn stage after stage, by name."""
    return found(__name__, ContinualMethod)  # type: ignore[type-abstract]


@cache
def forgetting_methods() -> dict[str, type[ForgettingMethod]]:
    """Methods that forget, by name."""
    return found(__name__, ForgettingMethod)  # type: ignore[type-abstract]


def continual_method(text: str) -> ContinualMethod:
    """The method of a text such as er:samples=480; InputError otherwise."""
    return made(text, continual_methods(), "continual method")


def forgetting_method(text: str) -> ForgettingMethod:
    """The method of a text such as ssd:percentile=98; InputError otherwise."""
    return made(text, forgetting_methods(), "method that forgets")
