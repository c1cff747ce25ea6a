"""Which of a graph's values are the outputs of modules that a learner names, or of the last blocks of convolutions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from odl.errors import InputError
from odl.graph.ir import Graph, Node, Value
from odl.operators.convolution import Conv2d


def tapped(graph: Graph, layers: Sequence[str] | int) -> tuple[Value, ...]:
    """The output of each layer, its fused activation included, in the order in which the graph computes them.

    InputError, which lists the layers there are, where one is none.
    """
    blocks = list(dict.fromkeys(_block(node) for node in graph.nodes if isinstance(node.operator, Conv2d)))
    if isinstance(layers, int):
        layers = blocks[-layers:]
        if not layers:
            raise InputError(f"the model has no convolution; name layers of {_all(graph)}")
    values = [_output(graph, layer) for layer in layers]
    made = [name for node in graph.nodes for name in node.results]
    return tuple(sorted(dict.fromkeys(values), key=lambda value: made.index(value.name)))


def upto(graph: Graph, wanted: Sequence[Value]) -> Graph:
    """The part of a graph that computes some of its values, which are its outputs."""
    needed = {value.name for value in wanted}
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.results):
            needed.update(node.reads)
            nodes.insert(0, node)
    part = replace(graph, outputs=tuple(value.name for value in wanted), gradients={})
    return part.with_nodes(nodes)


def _output(graph: Graph, layer: str) -> Value:
    own = [node for node in graph.nodes if node.layer and f"{node.layer}.".startswith(f"{layer}.")]
    if not own:
        raise InputError(f"the model has no layer '{layer}' to take features from; it has {_all(graph)}")
    return graph.value(own[-1].results[0])


def _block(node: Node) -> str:
    """The module with a number that a convolution lies in; without one, the module around it, or itself."""
    numbered = re.match(r"(?:[^.]+\.)*?\d+(?=\.|$)", node.layer)
    return numbered[0] if numbered else node.layer.rpartition(".")[0] or node.layer


def _of_layers(graph: Graph) -> Iterator[str]:
    return (node.layer for node in graph.nodes if node.layer and not node.operator.is_view)


def _all(graph: Graph) -> str:
    return ", ".join(dict.fromkeys(_of_layers(graph)))
