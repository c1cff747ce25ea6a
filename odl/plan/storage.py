"""Which values share bytes: views always, elementwise results in place where nobody reads the input afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from odl.graph.ir import Graph, Node, Role

#: Values that come from or go to the caller, whose bytes an operator may not overwrite while they wait.
_PINNED = {Role.INPUT, Role.TARGET, Role.SAMPLE_WEIGHT, Role.LOSS}


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
        taken = _in_place_input(graph, node, index, view_of, buffer_of, last_use, shared)
        if taken is None:
            continue
        output = view_of[node.outputs[0]]
        buffer_of[output] = taken
        last_use[taken] = max(last_use.get(taken, index), last_read.get(output, index))
    for value, storage in shared.items():
        if value in buffer_of and storage in view_of:
            buffer_of[value] = storage
    return Storage(view_of, {name: buffer_of[root] for name, root in view_of.items()})


def _views(graph: Graph) -> dict[str, str]:
    view_of = {name: name for name in graph.values}
    for node in graph.nodes:
        if node.operator.is_view:
            view_of[node.outputs[0]] = view_of[node.inputs[0] or ""]
    return view_of


def _in_place_input(
    graph: Graph,
    node: Node,
    index: int,
    view_of: Mapping[str, str],
    buffer_of: Mapping[str, str],
    last_use: Mapping[str, int],
    shared: Mapping[str, str],
) -> str | None:
    """The buffer that the node's first output may take over, if any."""
    if node.operator.is_view or not node.outputs or node.outputs[0] in shared:
        return None
    for output_index, input_index in node.operator.in_place:
        name = node.inputs[input_index] if input_index < len(node.inputs) else None
        if name is None or output_index != 0:
            continue
        value, output = graph.value(name), graph.value(node.outputs[0])
        if value.persistent or value.role in _PINNED or output.role in _PINNED:
            continue
        buffer = buffer_of[view_of[name]]
        root = graph.value(buffer)
        if root.role in _PINNED or root.size_bytes != output.size_bytes:
            continue
        repeated = sum(view_of[other] == view_of[name] for other in node.reads) > 1
        if last_use.get(buffer, -1) <= index and not repeated:
            return buffer
    return None
