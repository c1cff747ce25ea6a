"""A classifier in closed form over averages of layers' outputs: exact to add a sample to, exact to take one out of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from odl.learners.base import Learner, setting
from odl.option_kinds import Kind, number, one_of

#: Most layers whose averages are features.
MOST_LAYERS = 4
_SHRINKAGE, _LIMIT = number(1e-9, 1e3), number(1e-9, 1e9)


def _listed(value: object, item: Callable[[str], Any]) -> tuple[Any, ...]:
    """The items of a sequence, or of a text that separates them by commas."""
    words = (
        [item(word.strip()) for word in value.split(",") if word.strip()] if isinstance(value, str) else value
    )
    if isinstance(words, Sequence):
        return tuple(words)
    raise ValueError(f"must be a list, not {value!r}")


def _layers(value: object) -> tuple[str, ...] | int:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    found = value if isinstance(value, int) and not isinstance(value, bool) else _listed(value, str)
    listed = isinstance(found, int) or all(isinstance(item, str) for item in found)
    if not listed or not 1 <= (found if isinstance(found, int) else len(found)) <= MOST_LAYERS:
        raise ValueError(
            f"must be a number of blocks from 1 to {MOST_LAYERS}, or the paths of as many layers"
        )
    return found


def _limits(value: object) -> tuple[float, ...]:
    return tuple(_LIMIT.read(item) for item in _listed(value, float))


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class AnalyticHead(Learner):
    """Linear discriminant analysis or ridge regression over the averages of some layers' outputs.

    `layers`: the modules whose outputs are averaged, by their paths in the model, or how many blocks of convolutions from
    the last one back. `form`: "slda" (Hayes and Kanan 2020, arXiv 1909.01520) or "ridge". `shrinkage`: what is added to
    every variance, as a share of their mean. `limits`: the largest average of each layer, in the layers' order, that a
    feature tells from larger ones; where there are none they are measured when the network is compiled.
    """

    name: ClassVar[str] = "head"
    text: ClassVar[str] = "a classifier in closed form that samples are added to and taken out of"
    layers: tuple[str, ...] | int = setting(
        MOST_LAYERS,
        Kind(_layers, write=_plain),
        "Layers whose outputs' averages are features: paths in the model, or how many of the last blocks",
    )
    form: str = setting(
        "slda", one_of("slda", "ridge"), "Linear discriminant analysis (slda) or ridge regression"
    )
    shrinkage: float = setting(1e-4, _SHRINKAGE, "What is added to every variance, as a share of their mean")
    limits: tuple[float, ...] = setting(
        (), Kind(_limits, write=_plain), "Largest average of each layer; measured by default"
    )
