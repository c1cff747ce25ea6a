"""Which C functions a network needs: each distinct specialisation of a kernel template becomes one file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jinja2

from odl.operators.base import KernelCall


@dataclass(frozen=True)
class Kernel:
    """One rendered kernel: function name, prototype and file text."""

    name: str
    prototype: str
    text: str


@cache
def environment(package: str, folder: str) -> jinja2.Environment:
    """A Jinja environment over a package's folder; undefined variables are errors."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(resources.files(package) / folder)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


class KernelSet:
    """The kernels of one network, named so that variants of one template can be told apart."""

    def __init__(self, calls: Iterable[KernelCall]) -> None:
        self._variants: dict[str, dict[str, Mapping[str, Any]]] = {}
        self.shapes: dict[str, tuple[str, ...]] = {}
        for call in calls:
            self._variants.setdefault(call.template, {})[_key(call.context)] = call.context
            self.shapes.setdefault(call.shape_type, tuple(call.shape))

    def name(self, call: KernelCall) -> str:
        """The C function that serves a call."""
        return self._name(call.template, call.context)

    def _name(self, template: str, context: Mapping[str, Any]) -> str:
        variants = self._variants[template].values()
        differing = [key for key in sorted(context) if len({str(other[key]) for other in variants}) > 1]
        parts = [f"odl_{template}"]
        for key in differing:
            value = context[key]
            if isinstance(value, bool):
                parts.append(key if value else f"no_{key}")
            else:
                parts.append(f"{key.lower()}_{value}")
        return "_".join(parts)

    def render(self) -> list[Kernel]:
        """Every kernel, in name order."""
        kernels = []
        for template, variants in self._variants.items():
            for context in variants.values():
                name = self._name(template, context)
                file = environment("odl.kernels", ".").get_template(f"{template}.c.j2")
                module = file.make_module({"name": name, **_plain(context)})
                kernels.append(Kernel(name, str(module.prototype()).strip(), str(module).lstrip("\n")))  # type: ignore[attr-defined]
        return sorted(kernels, key=lambda kernel: kernel.name)


def _plain(context: Mapping[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, str) else value for key, value in context.items()}


def _key(context: Mapping[str, Any]) -> str:
    return json.dumps(_plain(context), sort_keys=True)
