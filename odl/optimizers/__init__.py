"""One file per optimizer; importing this package finds them all, and each is an attribute of it by its class's name."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

from odl.errors import InputError, option
from odl.optimizers.base import Optimizer


def _found() -> Iterator[type[Optimizer]]:
    for item in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{item.name}")
        for _, value in inspect.getmembers(module, inspect.isclass):
            if (
                issubclass(value, Optimizer)
                and value.__module__ == module.__name__
                and value is not Optimizer
            ):
                yield value


#: Every optimizer by its name, those with the fewest fields first.
OPTIMIZERS: Mapping[str, type[Optimizer]] = {
    kind.name: kind for kind in sorted(_found(), key=lambda kind: (len(dataclasses.fields(kind)), kind.name))
}
#: The same by the names of their classes, which are attributes of this package and of odl.
CLASSES: Mapping[str, type[Optimizer]] = {kind.__name__: kind for kind in OPTIMIZERS.values()}


def _choices() -> Iterator[tuple[str, Optimizer]]:
    for kind in OPTIMIZERS.values():
        yield kind.name, kind()
        for name, fields in kind.presets.items():
            yield name, dataclasses.replace(kind(), **fields)


#: What the command line can name: every optimizer with its defaults, and its presets.
CHOICES: Mapping[str, Optimizer] = dict(_choices())


def make_optimizer(name: str, given: Mapping[str, Any]) -> Optimizer:
    """The optimizer that the command line names, with the fields that it gives; a field that is None is not given.

    InputError where there is no such optimizer, where it has no such field, or where a value is beyond its limits.
    """
    if name not in CHOICES:
        raise InputError(f"{option('optimizer', name)}: must be one of {', '.join(CHOICES)}")
    chosen = CHOICES[name]
    fields = {field: value for field, value in given.items() if value is not None}
    own = [item.name for item in dataclasses.fields(chosen)]
    for field in fields:
        if field not in own:
            raise InputError(
                f"{option(field)} does not go with {option('optimizer', name)}, which has {', '.join(map(option, own))}"
            )
    return dataclasses.replace(chosen, **fields)


def field_help(field: str) -> str:
    """A field in words for the command line, with the value that it has when it is not given."""
    texts: dict[str, None] = {}
    owners: dict[str, list[str]] = {}
    for name, chosen in CHOICES.items():
        for item in dataclasses.fields(chosen):
            if item.name == field:
                texts[item.metadata["help"]] = None
                value = getattr(chosen, field)
                text = " ".join(map(str, value)) if isinstance(value, tuple) else f"{value}"
                owners.setdefault(text, []).append(name)
    defaults = "; ".join(f"{value} ({', '.join(names)})" for value, names in owners.items())
    words = " or ".join(texts)
    return f"{words[0].upper()}{words[1:]}: {defaults}."


def from_manifest(entry: Mapping[str, Any]) -> Optimizer:
    """The optimizer that a manifest states; InputError where this release has none of that name."""
    if entry["name"] not in OPTIMIZERS:
        raise InputError(f"the project's optimizer '{entry['name']}' is none of {', '.join(OPTIMIZERS)}")
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    del fields["name"]
    return dataclasses.replace(OPTIMIZERS[entry["name"]](), **fields)


def __getattr__(name: str) -> Any:
    if name in CLASSES:
        return CLASSES[name]
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


__all__ = ["CHOICES", "CLASSES", "OPTIMIZERS", "Optimizer", "field_help", "from_manifest", "make_optimizer"]
