"""One scenario in each file, found by being there."""

from __future__ import annotations

from functools import cache

from odl.learn.discover import found, made
from odl.learn.task import ContinualScenario, ForgettingScenario


@cache
def continual_scenarios() -> dict[str, type[ContinualScenario]]:
    """Scenarios of learning, by name."""
    return found(__name__, ContinualScenario)  # type: ignore[type-abstract]


@cache
def forgetting_scenarios() -> dict[str, type[ForgettingScenario]]:
    """Scenarios of forgetting, by name."""
    return found(__name__, ForgettingScenario)  # type: ignore[type-abstract]


def continual_scenario(text: str) -> ContinualScenario:
    """The scenario of that name; InputError otherwise."""
    return made(text, continual_scenarios(), "continual scenario")


def forgetting_scenario(text: str) -> ForgettingScenario:
    """The scenario of that name; InputError otherwise."""
    return made(text, forgetting_scenarios(), "scenario of forgetting")
