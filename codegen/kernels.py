"""Which C functions a network needs: each distinct specialisation of a kernel template becomes one file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

import jinja2

from odl.kernels.call import KernelCall
from odl.kernels.signature import Kernel, ShapeStruct, Specialisation


@dataclass(frozen=True)
class RenderedKernel:
    """A specialised kernel in C: function name, prototype and file text."""

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
    """The kernels of one network: C functions named by the network's prefix, the template and all that specialises it."""

    def __init__(self, calls: Iterable[KernelCall], prefix: str) -> None:
        self.prefix = prefix
        self._kernels: dict[str, Kernel] = {}
        self._contexts: dict[str, dict[str, Specialisation]] = {}
        for call in calls:
            kernel = self._kernels.setdefault(call.kernel.template, call.kernel)
            self._contexts.setdefault(kernel.template, {})[_key(call.context)] = call.context

    @property
    def shapes(self) -> tuple[ShapeStruct, ...]:
        """The structs that the kernels take their sizes in, in the order of first use."""
        return tuple(dict.fromkeys(kernel.shape for kernel in self._kernels.values()))

    def name(self, call: KernelCall) -> str:
        """The C function that serves a call."""
        return function_name(self.prefix, call.kernel.template, call.context)

    def render(self) -> list[RenderedKernel]:
        """Every kernel, in name order."""
        rendered = [
            render_kernel(
                self._kernels[template],
                function_name(self.prefix, template, context),
                context,
                f"{self.prefix}_kernels.h",
            )
            for template, contexts in self._contexts.items()
            for context in contexts.values()
        ]
        return sorted(rendered, key=lambda kernel: kernel.name)


def function_name(prefix: str, template: str, context: Specialisation) -> str:
    """The C name of a specialisation: everything that specialises it by name and value, a switch by its name alone.

    What is none, zero or off is left out, so that specialisations of one template that differ have different names.
    """
    parts = [prefix, template]
    for key, value in sorted(context.items()):
        if value and value != "none":
            parts.append(key if value is True else f"{key.lower()}_{value}")
    return "_".join(parts)


def render_kernel(
    kernel: Kernel, name: str, context: Specialisation, header: str = "kernels.h"
) -> RenderedKernel:
    """The C of a kernel's specialisation, as a function of that name that `header` declares."""
    prototype = kernel.prototype(name, context)
    template = environment("odl.kernels", ".").get_template(f"{kernel.template}.c.j2")
    text = template.render({"name": name, "prototype": prototype, "header": header, **_plain(context)})
    return RenderedKernel(name, prototype, text.lstrip("\n"))


def _plain(context: Specialisation) -> dict[str, str | int]:
    return {key: str(value) if isinstance(value, str) else value for key, value in context.items()}


def _key(context: Specialisation) -> str:
    return json.dumps(_plain(context), sort_keys=True)
