"""Zero padding before a convolution, and the crop after its input gradient, become the convolution's own padding."""

from __future__ import annotations

from dataclasses import replace

from odl.graph import Graph, Node
from odl.operators.convolution import Conv2d
from odl.operators.convolution_gradients import Conv2dInputGradient, Conv2dWeightGradient
from odl.operators.shape import Pad
from odl.passes.rewrite import remove_dead_code


def fuse_padding(graph: Graph) -> Graph:
    """conv(pad(x)) → padded conv(x), its weight gradient likewise, crop(input gradient) → padded input gradient.

    Repeated until nothing changes, for padding that is padded again.
    """
    while (fused := _fuse_once(graph)).nodes != graph.nodes:
        graph = fused
    return graph


def _fuse_once(graph: Graph) -> Graph:
    nodes = [_take_padding(graph, node) for node in graph.nodes]
    by_output = {name: index for index, node in enumerate(nodes) for name in node.results}
    for index, node in enumerate(nodes):
        if not isinstance(node.operator, Pad) or max(node.operator.amounts) > 0:
            continue
        producer = by_output.get(node.inputs["x"])
        if producer is None or len(graph.consumers(node.inputs["x"])) != 1:
            continue
        gradient = nodes[producer]
        if isinstance(gradient.operator, Conv2dInputGradient):
            window = gradient.operator.window.widened([-amount for amount in node.operator.amounts])
            shape = graph.value(node.outputs["y"]).shape
            operator = replace(gradient.operator, window=window, input_shape=shape)
            nodes[index] = replace(gradient, operator=operator, outputs={"dx": node.outputs["y"]})
    return remove_dead_code(graph.with_nodes(nodes))


def _take_padding(graph: Graph, node: Node) -> Node:
    operator = node.operator
    if not isinstance(operator, Conv2d | Conv2dWeightGradient):
        return node
    producer = graph.producer(node.inputs["x"])
    if producer is None or not isinstance(producer.operator, Pad) or min(producer.operator.amounts) < 0:
        return node
    window = operator.window.widened(producer.operator.amounts)
    inputs = {**node.inputs, "x": producer.inputs["x"]}
    return replace(node, operator=replace(operator, window=window), inputs=inputs)
