"""One file per learning primitive; importing this package finds them all."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from odl.errors import InputError, option
from odl.learners.base import Learner, setting_option
from odl.option_kinds import Kind


def _found() -> Iterator[type[Learner]]:
    for item in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{item.name}")
        for _, value in inspect.getmembers(module, inspect.isclass):
            if issubclass(value, Learner) and value.__module__ == module.__name__ and value is not Learner:
                yield value


#: Every primitive by its name.
LEARNERS: Mapping[str, type[Learner]] = {
    kind.name: kind for kind in sorted(_found(), key=lambda kind: kind.name)
}
#: The same by the names of their classes, which are attributes of odl.
CLASSES: Mapping[str, type[Learner]] = {kind.__name__: kind for kind in LEARNERS.values()}
#: The settings of all, by their option on the command line, with underscores.
SETTINGS: Mapping[str, tuple[type[Learner], dataclasses.Field[Any]]] = {
    setting_option(kind.name, item.name): (kind, item)
    for kind in LEARNERS.values()
    for item in dataclasses.fields(kind)
}
_CHOICES = " or ".join(f"odl.{name}(…)" for name in CLASSES)


def with_settings(text: object, given: Mapping[str, Any]) -> tuple[Learner, ...]:
    """The primitives that a command line names, with the settings that it gives; one that is None is not given.

    InputError for an unknown name, and for a setting of a primitive that is not named.
    """
    chosen = read_learners(text)
    for name, value in given.items():
        kind, item = SETTINGS[name]
        if value is None:
            continue
        if not any(isinstance(learner, kind) for learner in chosen):
            raise InputError(f"{option(name, value)} goes with {option('learn', kind.name)}")
        chosen = tuple(
            dataclasses.replace(learner, **{item.name: value}) if isinstance(learner, kind) else learner
            for learner in chosen
        )
    return chosen


def read_learners(value: object) -> tuple[Learner, ...]:
    """Primitives, each once, of a value, a text of names with commas, what a manifest holds, or a sequence of these.

    ValueError says what it must be.
    """
    if isinstance(value, str):
        value = [word for word in value.split(",") if word]
    items = value if isinstance(value, Sequence) else [value]
    found = [_learner(item) for item in items]
    for index, item in enumerate(found):
        if any(type(other) is type(item) and other != item for other in found[:index]):
            raise ValueError(f"must name {item.name} once")
    return tuple(dict.fromkeys(found))


def _learner(item: object) -> Learner:
    if isinstance(item, Learner):
        return item
    entry = {"name": item} if isinstance(item, str) else item
    if not isinstance(entry, Mapping) or entry.get("name") not in LEARNERS:
        raise ValueError(f"must be some of {', '.join(LEARNERS)}")
    return LEARNERS[entry["name"]](**{name: setting for name, setting in entry.items() if name != "name"})


LEARN: Kind[tuple[Learner, ...]] = Kind(
    read_learners, write=lambda found: [item.manifest() for item in found]
)

__all__ = ["CLASSES", "LEARN", "LEARNERS", "SETTINGS", "Learner", "read_learners", "with_settings"]
