"""Convolutions with very few input channels get their windows as rows (im2row) and become 1x1 convolutions."""

from __future__ import annotations

from dataclasses import replace

from odl.graph import Graph, Layout, Node, Role, Value
from odl.operators.convolution import Conv2d
from odl.operators.convolution_gradients import Conv2dWeightGradient
from odl.operators.im2row import Im2Row
from odl.operators.window import Window

#: Most input channels for which rows are made: with more, a row of a window is long enough by itself.
MOST_CHANNELS = 3


def unroll_windows(graph: Graph) -> Graph:
    """Put an im2row before the convolutions that gain by it; their weight gradients read the same rows.

    A row must fill pairs of lanes, and must not be longer than the layer has outputs, so that making it costs little
    beside using it and the rows take no more memory than the layer's output.
    """
    nodes: list[Node] = []
    added: dict[tuple[str, Window], Value] = {}
    for node in graph.nodes:
        operator = node.operator
        if isinstance(operator, Conv2d) and _gains(graph, node, operator):
            key = (node.inputs["x"], operator.window)
            if key not in added:
                unrolling = Im2Row(operator.window)
                name = f"{node.name}.im2row"
                shape = unrolling.shapes({"x": graph.value(key[0]).shape})["rows"]
                added[key] = Value(name, shape, Role.ACTIVATION, graph.value(key[0]).dtype, Layout.NHWC)
                nodes.append(Node(name, unrolling, {"x": key[0]}, {"rows": name}, layer=node.layer))
        if isinstance(operator, Conv2d | Conv2dWeightGradient) and not operator.depthwise:
            rows = added.get((node.inputs["x"], operator.window))
            if rows is not None:
                operator = replace(operator, unrolled=True)
                node = replace(node, operator=operator, inputs={**node.inputs, "x": rows.name})
        nodes.append(node)
    return graph.with_values(added.values()).with_nodes(nodes)


def _gains(graph: Graph, node: Node, operator: Conv2d) -> bool:
    if operator.depthwise or operator.unrolled or operator.window.kernel == (1, 1):
        return False
    out_channels, channels = graph.value(node.inputs["weight"]).shape[:2]
    height, width = operator.window.kernel
    row = channels * height * width
    return channels <= MOST_CHANNELS and row % 2 == 0 and row <= out_channels
