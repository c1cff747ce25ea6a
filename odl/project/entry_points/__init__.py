"""One file per idea; importing this package finds the entry points and static functions in them all."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from odl.graph.ir import Graph, Value
from odl.options import Options
from odl.project.entry_point import ALWAYS_NUMBERED, EntryPoint, StaticFunction, TrainingPasses
from odl.project.programs import Program


def _found() -> Iterator[EntryPoint | StaticFunction]:
    for item in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{item.name}")).values():
            if isinstance(value, EntryPoint | StaticFunction):
                yield value


_FUNCTIONS = tuple(dict.fromkeys(_found()))
#: Every entry point by its name, in the order of the header.
ENTRY_POINTS: Mapping[str, EntryPoint] = {
    item.name: item
    for item in sorted(
        (item for item in _FUNCTIONS if isinstance(item, EntryPoint)),
        key=lambda item: (item.header, item.name),
    )
}
#: Those that a device computes, by their number in device.c.
NUMBERED: Mapping[int, EntryPoint] = {
    number: item
    for number, item in sorted(
        (item.number, item) for item in ENTRY_POINTS.values() if item.number is not None
    )
}


def existing(options: Options, programs: Collection[str]) -> tuple[EntryPoint, ...]:
    """The entry points of a project, in the order of the header."""
    return tuple(item for item in ENTRY_POINTS.values() if item.exists(options, programs))


def functions(options: Options, programs: Collection[str]) -> tuple[EntryPoint | StaticFunction, ...]:
    """The functions of a project's C source, in its order."""
    defined = [item for item in _FUNCTIONS if not isinstance(item, EntryPoint) or item.body is not None]
    found = [item for item in defined if item.exists(options, programs)]
    return tuple(sorted(found, key=lambda item: item.source))


def extra_graphs(passes: TrainingPasses) -> dict[Program, Graph]:
    """Graphs of the programs that entry points bring along."""
    graphs: dict[Program, Graph] = {}
    for item in ENTRY_POINTS.values():
        if item.graphs is not None:
            made = item.graphs(passes)
            passes = replace(passes, kept=(*passes.kept, *kept_values(made.values())))
            graphs |= {program: replace(graph, name=program.name) for program, graph in made.items()}
    return graphs


def kept_values(graphs: Iterable[Graph]) -> tuple[Value, ...]:
    """The values of graphs that outlive a call and that nothing makes again."""
    found = {name: value for graph in graphs for name, value in graph.values.items() if value.role.saved}
    return tuple(found.values())


def device_variables(found: Collection[EntryPoint]) -> list[str]:
    """The variables of device.c that only some projects have, as declarations without the semicolon."""
    parameters = (
        item for entry_point in found if entry_point.number is not None for item in entry_point.parameters
    )
    return list(dict.fromkeys(item.device_variable for item in parameters if item.extent is not None))


def enumerators(found: Collection[EntryPoint]) -> list[str]:
    """The calls that device.c knows, as enumerators: the first of any project, and those that this one has."""
    listed = [item for number, item in NUMBERED.items() if number < ALWAYS_NUMBERED or item in found]
    return [
        item.name.upper() if item.number == position else f"{item.name.upper()} = {item.number}"
        for position, item in enumerate(listed)
    ]
