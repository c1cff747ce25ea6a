"""What the passes share: how they run one after another, and renaming in an immutable graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from odl.graph import Graph, Node


@dataclass(frozen=True)
class Pass:
    """A function from a graph to a graph, and what to call it when it leaves a graph that does not hold together."""

    name: str
    apply: Callable[[Graph], Graph]


def run_passes(graph: Graph, passes: Iterable[Pass]) -> Graph:
    """The graph after all passes; GraphError names the one that broke it."""
    for item in passes:
        graph = item.apply(graph)
        graph.check(item.name)
    return graph


def renamed(node: Node, names: Mapping[str, str]) -> Node:
    """The node with its inputs renamed."""
    return replace(node, inputs={name: names.get(value, value) for name, value in node.inputs.items()})


def sole_consumer(graph: Graph, name: str) -> Node | None:
    """The only node that reads the value, or None when several do or somebody outside needs it."""
    consumers = graph.consumers(name)
    if len(consumers) != 1 or graph.is_output(name):
        return None
    return consumers[0]


def remove_dead_code(graph: Graph) -> Graph:
    """Drop the nodes and the optional outputs that nobody needs; nodes that update something in place stay."""
    needed = set(graph.outputs) | set(graph.gradients.values())
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.results) or set(node.operator.updated) & node.inputs.keys():
            kept.append(_without_unread(node, needed))
            needed.update(node.reads)
    return graph.with_nodes(reversed(kept))


def _without_unread(node: Node, needed: Collection[str]) -> Node:
    """The node without outputs that nobody reads, where its operator can leave them out."""
    unread = [name for name, value in node.outputs.items() if value not in needed]
    operator = node.operator.without(unread)
    if operator is node.operator:
        return node
    outputs = {name: value for name, value in node.outputs.items() if name not in unread}
    return replace(node, operator=operator, outputs=outputs)
