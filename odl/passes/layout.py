"""Views across layouts: free where the bytes stay, a copy where a flattened image meets a linear layer."""

from __future__ import annotations

from odl.errors import InputError
from odl.graph import Graph, Layout, Node, Value
from odl.operators.shape import ChangeLayout, Reshape, same_bytes


def choose_layouts(graph: Graph) -> Graph:
    """Put a ChangeLayout beside every reshape that would move bytes."""
    nodes: list[Node] = []
    added: list[Value] = []
    for node in graph.nodes:
        if not isinstance(node.operator, Reshape):
            nodes.append(node)
            continue
        before, after = graph.value(node.inputs["x"]), graph.value(node.outputs["y"])
        if same_bytes(before.shape, before.layout, after.shape, after.layout):
            nodes.append(node)
            continue
        copies, value = _copied(node, before, after)
        nodes.extend(copies)
        added.append(value)
    return graph.with_values(added).with_nodes(nodes)


def _copied(node: Node, before: Value, after: Value) -> tuple[list[Node], Value]:
    name = f"{node.name}.layout"
    if before.layout is Layout.NHWC and after.layout is Layout.FLAT:
        value = Value(name, before.shape, after.role, before.dtype, Layout.FLAT)
        copy = Node(name, ChangeLayout(before.shape, to_channels_first=True), {"x": before.name}, {"y": name})
        return [copy, Node(node.name, node.operator, {"x": name}, node.outputs)], value
    if before.layout is Layout.FLAT and after.layout is Layout.NHWC:
        value = Value(name, after.shape, after.role, after.dtype, Layout.FLAT)
        view = Node(name, node.operator, node.inputs, {"y": name})
        back = ChangeLayout(after.shape, to_channels_first=False)
        return [view, Node(node.name, back, {"x": name}, node.outputs)], value
    raise InputError(
        f"{node.name}: reshaping {before.shape} to {after.shape}, both images, is not supported; flatten the first"
    )
