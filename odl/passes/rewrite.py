"""Small tools that the passes share: replacing and renaming in an immutable graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from odl.graph.ir import Graph, Node


def renamed(node: Node, names: Mapping[str, str]) -> Node:
    """The node with its inputs renamed."""
    inputs = tuple(name if name is None else names.get(name, name) for name in node.inputs)
    return replace(node, inputs=inputs)


def sole_consumer(graph: Graph, name: str) -> Node | None:
    """The only node that reads the value, or None when several do or somebody outside needs it."""
    consumers = graph.consumers(name)
    if len(consumers) != 1 or graph.is_output(name):
        return None
    return consumers[0]


def remove_dead_code(graph: Graph) -> Graph:
    """Drop the nodes whose results nobody needs; nodes that update something in place stay."""
    needed = set(graph.outputs) | set(graph.gradients.values())
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs) or any(index < len(node.inputs) for index in _updates(node)):
            kept.append(node)
            needed.update(node.reads)
    return graph.with_nodes(reversed(kept))


def _updates(node: Node) -> tuple[int, ...]:
    return tuple(index for index in node.operator.updated_inputs if node.inputs[index : index + 1] != (None,))
