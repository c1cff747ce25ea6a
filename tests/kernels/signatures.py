"""Every kernel's signature by its template, found where the kernels stand: beside the operators and the optimizers."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from odl import operators, optimizers
from odl.kernels.signature import Kernel


def _found() -> Iterator[Kernel]:
    for package in (operators, optimizers):
        for module in pkgutil.iter_modules(package.__path__):
            for value in vars(importlib.import_module(f"{package.__name__}.{module.name}")).values():
                if isinstance(value, Kernel):
                    yield value


KERNELS = {kernel.template: kernel for kernel in _found()}
SHAPES = tuple(dict.fromkeys(kernel.shape for kernel in KERNELS.values()))


def structs() -> str:
    """The structs of all shapes in C."""
    return "".join(
        f"struct {shape.name} {{\n    uint32_t {', '.join(shape.fields)};\n}};\n" for shape in SHAPES
    )
