"""Storage types: fp32, fp16, or mixed (Micikevicius et al. 2018, arXiv 1710.03740).

mixed keeps activations, their gradients and a working copy of every weight matrix in fp16; master weights, biases,
normalisation parameters and optimizer state stay in fp32.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from odl.graph import DType, Graph, Node, Role, Value
from odl.passes.rewrite import renamed
from odl.precision import Precision


def apply_precision(graph: Graph, precision: Precision, trainable: frozenset[str], accumulate: bool) -> Graph:
    """Give every value its storage type; in mixed precision kernels read fp16 working copies of the weights.

    `trainable` names the parameters that are updated: the others need no fp32 master.
    """
    graph = replace(graph, nodes=tuple(_with_stored_limits(node, precision) for node in graph.nodes))
    if precision is Precision.FP32:
        return graph
    values: dict[str, Value] = {}
    copies: dict[str, str] = {}
    for name, value in graph.values.items():
        matrix = len(value.shape) >= 2
        half = value.role.half
        if value.role is Role.PARAMETER:
            half = precision is Precision.FP16 or (matrix and name not in trainable)
            if precision is Precision.MIXED and matrix and name in trainable:
                copies[name] = f"{name}.copy"
        if value.role is Role.PARAMETER_GRADIENT:
            half = precision is Precision.FP16 or (matrix and not accumulate)
        values[name] = replace(value, dtype=DType.F16) if half else value
    for name, copy in copies.items():
        values[copy] = replace(values[name], name=copy, role=Role.WORKING_COPY, dtype=DType.F16)
    nodes = tuple(renamed(node, copies) for node in graph.nodes)
    return replace(graph, values=values, nodes=nodes)


def _with_stored_limits(node: Node, precision: Precision) -> Node:
    """The node with its clamp's limits rounded as its output is stored.

    The gradient's mask compares the stored output with the limits: 0.9 is stored below 0.9, which would let the
    gradient of every clamped unit through.
    """
    operator: Any = node.operator
    if not hasattr(operator, "low"):
        return node
    stored = np.float32 if precision is Precision.FP32 else np.float16
    with np.errstate(over="ignore"):
        low, high = float(stored(operator.low)), float(stored(operator.high))
    return replace(node, operator=replace(operator, low=low, high=high))
