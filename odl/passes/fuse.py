"""Elementwise work joins the kernel that makes its input: one pass over memory instead of two or three."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from odl.graph import AbstractOperator, Graph, Node
from odl.operators.batch_norm import BatchNorm
from odl.operators.convolution import Conv2d
from odl.operators.convolution_gradients import Conv2dInputGradient
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
    graph: Graph, first: Node, second: Node, operator: AbstractOperator, inputs: Mapping[str, str]
) -> Graph:
    """Both nodes become one, which stands where the second stood and gives what it gave."""
    (result,) = second.results
    outputs = {name: result if value in second.reads else value for name, value in first.outputs.items()}
    joined = replace(first, operator=operator, inputs=inputs, outputs=outputs)
    nodes = [joined if node is second else node for node in graph.nodes if node is not first]
    return graph.with_nodes(nodes)


def _unclamped(operator: AbstractOperator) -> bool:
    low, high = getattr(operator, "low", -math.inf), getattr(operator, "high", math.inf)
    return bool(low == -math.inf and high == math.inf)


def _fuse_add(graph: Graph, node: Node) -> Graph | None:
    position = {item.name: index for index, item in enumerate(graph.nodes)}
    candidates = []
    a, b = node.inputs["a"], node.inputs["b"]
    for name, addend in ((a, b), (b, a)):
        producer = graph.producer(name)
        if producer is None or name == addend:
            continue
        if sole_consumer(graph, name) is not node or not _unclamped(producer.operator):
            continue
        free = "addend" not in producer.inputs and "mask" not in producer.inputs
        forward = isinstance(producer.operator, _FORWARD)
        backward = isinstance(producer.operator, _INPUT_GRADIENT) and _unclamped(node.operator)
        if free and (forward or backward):
            candidates.append((position[producer.name], producer, addend))
    if not candidates:
        return None
    _, producer, addend = max(candidates, key=lambda candidate: candidate[0])
    operator = producer.operator
    if not _unclamped(node.operator):
        assert isinstance(node.operator, Add) and isinstance(operator, Conv2d | Linear)
        operator = replace(operator, low=node.operator.low, high=node.operator.high)
    return _replace_pair(graph, producer, node, operator, {**producer.inputs, "addend": addend})


def _fuse_relu(graph: Graph, node: Node) -> Graph | None:
    name = node.inputs["x"]
    producer = graph.producer(name)
    if producer is None or sole_consumer(graph, name) is not node:
        return None
    if not isinstance(producer.operator, _CLAMPED) or not _unclamped(producer.operator):
        return None
    assert isinstance(node.operator, Relu)
    operator = replace(producer.operator, low=node.operator.low, high=node.operator.high)
    return _replace_pair(graph, producer, node, operator, producer.inputs)


def _fuse_mask(graph: Graph, node: Node) -> Graph | None:
    name, mask = node.inputs["dy"], node.inputs["y"]
    producer = graph.producer(name)
    if producer is None or sole_consumer(graph, name) is not node:
        return None
    if not isinstance(producer.operator, _INPUT_GRADIENT) or "mask" in producer.inputs:
        return None
    assert isinstance(node.operator, ReluGradient)
    operator = replace(producer.operator, low=node.operator.low, high=node.operator.high)
    return _replace_pair(graph, producer, node, operator, {**producer.inputs, "mask": mask})
