"""What a learning primitive states about itself; every stage asks it.

A primitive is what a device can do with its network besides plain training steps. Its settings are a frozen dataclass in
a file of this folder, found by being there; its functions are entry points of `odl/project/entry_points`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar

from odl.errors import InputError, option
from odl.option_kinds import Kind


def setting(default: Any, kind: Kind[Any], help: str) -> Any:
    """A field with its default and kind; `help` is the command line's."""
    return field(default=default, metadata={"kind": kind, "help": help})


@dataclass(frozen=True)
class Learner:
    """Base of all primitives. InputError names a setting that is beyond its limits, and its value."""

    #: What the command line and the manifest call it.
    name: ClassVar[str]
    #: What it is, for the command line.
    text: ClassVar[str]

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            try:
                object.__setattr__(self, item.name, item.metadata["kind"].read(value))
            except ValueError as error:
                raise InputError(f"{self.option(item.name, value)}: {error}") from None

    @classmethod
    def option(cls, field: str, *values: object) -> str:
        """Part of an error's message: a setting, as `odl.errors.option` names an option."""
        return option(setting_option(cls.name, field), *values)

    def manifest(self) -> dict[str, Any] | str:
        """The name, and the settings where it has any, as manifest.json states them."""
        fields = dataclasses.fields(self)
        if not fields:
            return self.name
        return {"name": self.name} | {
            item.name: item.metadata["kind"].write(getattr(self, item.name)) for item in fields
        }


def setting_option(name: str, field: str) -> str:
    """The option of the command line for a primitive's setting, with underscores."""
    return f"{name}_{field}"
