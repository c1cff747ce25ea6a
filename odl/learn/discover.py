"""Classes that are found by their files, and made from a text such as er:samples=480:replayed=4."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from odl.errors import InputError

Kind = TypeVar("Kind")


def found(package: str, base: type[Kind]) -> dict[str, type[Kind]]:
    """Every class of the package's modules that is a concrete `base`, by its `name`, sorted."""
    classes: dict[str, type[Kind]] = {}
    for item in pkgutil.iter_modules(importlib.import_module(package).__path__):
        module = importlib.import_module(f"{package}.{item.name}")
        for _, value in inspect.getmembers(module, inspect.isclass):
            if (
                issubclass(value, base)
                and value.__module__ == module.__name__
                and not inspect.isabstract(value)
                and "name" in vars(value)
            ):
                classes[vars(value)["name"]] = value
    return dict(sorted(classes.items()))


def made(text: str, kinds: Mapping[str, type[Kind]], what: str) -> Kind:
    """An instance: the name, and after colons the fields that differ from their defaults. InputError says what is wrong."""
    name, *settings = text.split(":")
    if name not in kinds:
        raise InputError(f"there is no {what} '{name}'; there are {', '.join(kinds)}")
    kind = kinds[name]
    types = {item.name: get_type_hints(kind)[item.name] for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for setting in settings:
        field, _, value = setting.partition("=")
        if field not in types:
            raise InputError(f"{what} '{name}' has no field '{field}'; it has {', '.join(types) or 'none'}")
        values[field] = _parsed(text, value, types[field])
    return kind(**values)


def _parsed(text: str, value: str, kind: Any) -> Any:
    try:
        parsed = kind(value)
    except ValueError:
        raise InputError(f"{text}: '{value}' is no {kind.__name__}") from None
    if isinstance(parsed, float) and not abs(parsed) < float("inf"):
        raise InputError(f"{text}: '{value}' is not finite")
    if isinstance(parsed, int) and parsed < 1:
        raise InputError(f"{text}: '{value}' must be at least 1")
    return parsed
