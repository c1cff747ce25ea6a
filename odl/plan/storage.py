"""Which values share bytes: views always, elementwise results in place where nobody reads the input afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from odl.graph.ir import Graph, Node


@dataclass(frozen=True)
class Storage:
    """`view_of` maps each value to the value whose bytes it is another name of; `buffer_of` to its shared buffer."""

    view_of: Mapping[str, str]
    buffer_of: Mapping[str, str]


def share_storage(graph: Graph, shared: Mapping[str, str]) -> Storage:
    """Views and in-place results of one graph; `shared` gives further pairs (value, storage it takes over)."""
    view_of = _views(graph)
    last_read: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        for name in node.reads:
            last_read[view_of[name]] = index
    for name in graph.outputs:
        last_read[view_of[name]] = len(graph.nodes)
    buffer_of = {root: root for root in set(view_of.values())}
    last_use = dict(last_read)
    for index, node in enumerate(graph.nodes):
        for pair in () if node.operator.is_view else node.operator.in_place:
            given, output = node.inputs.get(pair.input), node.outputs.get(pair.output)
            if given is None or output is None or output in shared:
                continue
            taken = buffer_of[view_of[given]]
            if last_use.get(taken, -1) <= index and _may_take_over(
                graph, node, given, output, taken, view_of
            ):
                buffer_of[view_of[output]] = taken
                last_use[taken] = max(last_use.get(taken, index), last_read.get(view_of[output], index))
                break
    for value, storage in shared.items():
        if value in buffer_of and storage in view_of:
            buffer_of[value] = storage
    return Storage(view_of, {name: buffer_of[root] for name, root in view_of.items()})


def _views(graph: Graph) -> dict[str, str]:
    view_of = {name: name for name in graph.values}
    for node in graph.nodes:
        if node.operator.is_view:
            for pair in node.operator.in_place:
                view_of[node.outputs[pair.output]] = view_of[node.inputs[pair.input]]
    return view_of


def _may_take_over(
    graph: Graph, node: Node, name: str, output: str, buffer: str, view_of: Mapping[str, str]
) -> bool:
    """Whether the node's output may lie where its input lies, in a buffer that nobody reads afterwards."""
    value, made, root = graph.value(name), graph.value(output), graph.value(buffer)
    if value.persistent or any(item.role.pinned for item in (value, made, root)):
        return False
    repeated = sum(view_of[other] == view_of[name] for other in node.reads) > 1
    return root.size_bytes == made.size_bytes and not repeated
