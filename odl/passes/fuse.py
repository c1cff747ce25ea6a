"""Elementwise work joins the kernel that makes its input: one pass over memory instead of two or three."""

from __future__ import annotations

import math
from dataclasses import replace

from odl.graph.ir import Graph, Node
from odl.operators.base import Operator
from odl.operators.batch_norm import BatchNorm
from odl.operators.convolution import Conv2d, Conv2dInputGradient
from odl.operators.elementwise import Add, Relu, ReluGradient
from odl.operators.linear import Linear, LinearInputGradient
from odl.passes.rewrite import sole_consumer

_FORWARD = (Conv2d, Linear)
_INPUT_GRADIENT = (Conv2dInputGradient, LinearInputGradient)
_CLAMPED = (Conv2d, Linear, BatchNorm, Add)


def fuse_elementwise(graph: Graph) -> Graph:
    """Fuse sums, then activations, then gradient sums and masks, until nothing changes.

    conv + other → conv with addend; relu(conv | batch norm | add) → clamped; input gradient + other → with addend;
    relu gradient(input gradient) → masked.
    """
    while True:
        for node in graph.nodes:
            fused = _fused(graph, node)
            if fused is not None:
                graph = fused
                break
        else:
            return graph


def _fused(graph: Graph, node: Node) -> Graph | None:
    if isinstance(node.operator, Add):
        return _fuse_add(graph, node)
    if isinstance(node.operator, Relu):
        return _fuse_relu(graph, node)
    if isinstance(node.operator, ReluGradient):
        return _fuse_mask(graph, node)
    return None


def _replace_pair(
    graph: Graph, first: Node, second: Node, operator: Operator, inputs: tuple[str | None, ...]
) -> Graph:
    """Both nodes become one, which stands where the second stood and gives what it gave."""
    joined = Node(first.name, operator, inputs, (second.outputs[0], *first.outputs[1:]))
    nodes = [joined if node is second else node for node in graph.nodes if node is not first]
    return graph.with_nodes(nodes)


def _unclamped(operator: Operator) -> bool:
    low, high = getattr(operator, "low", -math.inf), getattr(operator, "high", math.inf)
    return bool(low == -math.inf and high == math.inf)


def _fuse_add(graph: Graph, node: Node) -> Graph | None:
    position = {item.name: index for index, item in enumerate(graph.nodes)}
    candidates = []
    for own, other in ((0, 1), (1, 0)):
        name, addend = node.inputs[own], node.inputs[other]
        producer = graph.producer(name) if name is not None else None
        if producer is None or name is None or name == addend:
            continue
        if sole_consumer(graph, name) is not node or not _unclamped(producer.operator):
            continue
        forward = isinstance(producer.operator, _FORWARD) and producer.inputs[3] is None
        backward = isinstance(producer.operator, _INPUT_GRADIENT) and producer.inputs[2:] == (None, None)
        if forward or (backward and _unclamped(node.operator)):
            candidates.append((position[producer.name], producer, addend, forward))
    if not candidates:
        return None
    _, producer, addend, forward = max(candidates, key=lambda candidate: candidate[0])
    operator = producer.operator
    if not _unclamped(node.operator):
        assert isinstance(node.operator, Add) and isinstance(operator, Conv2d | Linear)
        operator = replace(operator, low=node.operator.low, high=node.operator.high)
    inputs = (*producer.inputs[:3], addend) if forward else (*producer.inputs[:2], addend, None)
    return _replace_pair(graph, producer, node, operator, inputs)


def _fuse_relu(graph: Graph, node: Node) -> Graph | None:
    name = node.inputs[0]
    producer = graph.producer(name) if name is not None else None
    if producer is None or name is None or sole_consumer(graph, name) is not node:
        return None
    if not isinstance(producer.operator, _CLAMPED) or not _unclamped(producer.operator):
        return None
    assert isinstance(node.operator, Relu)
    operator = replace(producer.operator, low=node.operator.low, high=node.operator.high)
    return _replace_pair(graph, producer, node, operator, producer.inputs)


def _fuse_mask(graph: Graph, node: Node) -> Graph | None:
    name, mask = node.inputs
    producer = graph.producer(name) if name is not None else None
    if producer is None or name is None or sole_consumer(graph, name) is not node:
        return None
    if not isinstance(producer.operator, _INPUT_GRADIENT) or producer.inputs[3] is not None:
        return None
    assert isinstance(node.operator, ReluGradient)
    operator = replace(producer.operator, low=node.operator.low, high=node.operator.high)
    return _replace_pair(graph, producer, node, operator, (*producer.inputs[:3], mask))
