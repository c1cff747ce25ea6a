"""Layers as C functions: what the functions are called, and which of them one function walks by a table."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from odl.codegen.texts import LayerText, ProgramText, TableText
from odl.graph.ir import Graph, Node, Role

#: A table takes more lines than this many functions.
_FEWEST_ROWS = 3


def containers(graph: Graph) -> frozenset[str]:
    """Paths of the modules that hold modules which the graph has nodes of; "", the model itself, among them."""
    paths = [node.layer.split(".") for node in graph.nodes]
    return frozenset(".".join(path[:length]) for path in paths for length in range(len(path))) | {""}


def layer_base(graph: Graph, node: Node, holding: Collection[str]) -> str:
    """What a node's function is called after: layer and pass, and the operator where the layer is a container.

    The nodes of a layer with parameters, and what belongs to a parameter, are named like that already. `holding`: the
    graph's containers.
    """
    if node.name == node.layer:
        return f"{node.layer}.forward"
    if node.name.startswith(f"{node.layer}." if node.layer else "") and "." in node.name:
        return node.name
    operator = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node.operator.title).lower()
    backward = all(graph.value(name).role is Role.GRADIENT for name in node.results)
    end = "input_gradient" if backward else node.operator.pass_name  # a view has the same pass both ways
    parts = (node.layer, operator.removesuffix("_gradient") if node.layer in holding else "", end)
    return ".".join(part for part in parts if part)


def tabled(layers: Sequence[LayerText]) -> list[LayerText | TableText]:
    """The layers, those in a row that differ in tensors and shapes alone as one table."""
    found: list[LayerText | TableText] = []
    for _, group in itertools.groupby(layers, key=_alike):
        alike = list(group)
        if len(alike) < _FEWEST_ROWS:
            found.extend(alike)
        else:
            found.append(TableText(f"{alike[0].base.rpartition('.')[2]}.tensors", alike))
    return found


def named(programs: Iterable[ProgramText], prefix: str, taken: Collection[str]) -> list[ProgramText]:
    """The programs, their layers' functions named, all differently and otherwise than what is taken.

    A layer that several programs compute has its plain name in the first.
    """
    used = set(taken)

    def name(program: ProgramText, base: str) -> str:
        plain = _identifier(prefix, base)
        longer = _identifier(prefix, program.name, base)
        numbered = (f"{longer}_{number}" for number in itertools.count(2))
        found = next(item for item in itertools.chain([plain, longer], numbered) if item not in used)
        used.add(found)
        return found

    return [
        replace(program, layers=[replace(layer, name=name(program, layer.base)) for layer in program.layers])
        for program in programs
    ]


def _identifier(*parts: str) -> str:
    return re.sub(r"[^0-9A-Za-z]+", "_", "_".join(parts)).strip("_")


def _alike(layer: LayerText) -> tuple[object, ...]:
    """What layers of a table have in common; of a layer that fits in none, itself."""
    call = layer.tasks[0].call
    if not layer.changes:
        return (id(layer),)
    same = {name: text for name, text in call.arguments.items() if name not in call.pointers and name != "s"}
    types = tuple((name, pointer.type) for name, pointer in call.pointers.items())
    return (call.function, tuple(same.items()), types, call.guarded)
