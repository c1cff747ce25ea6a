"""From a traced module to a graph of operators, by the rules that the operators register."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from odl.errors import InputError, option
from odl.graph import Graph, Role, Value
from odl.operators.lowering import RULES, Lowering, expression, supported
from odl.operators.reduce import ParameterSum
from odl.trace.tracing import Traced

#: Keyword arguments of ATen operators that say where and how PyTorch stores a result, not what it is.
_MEANINGLESS = {"device", "layout", "memory_format", "pin_memory"}

#: ATen operators that leave the bytes alone.
_VIEWS = tuple(
    f"aten.{name}."
    for name in ("view", "_unsafe_view", "reshape", "alias", "detach", "clone", "squeeze", "unsqueeze")
)


def lower(traced: Traced, name: str) -> Graph:
    """The graph of a traced training step or inference.

    Raises InputError naming an operator that is not supported, where it stands in the model, and what is supported.
    """
    lowering = Lowering(traced.where, traced.layer, _gradient_shapes(traced))
    for node, value in traced.placeholders.items():
        if not value.shape:  # PyTorch's num_batches_tracked, which no kernel needs
            continue
        lowering.values[value.name] = value
        lowering.set(node, value.name)
    for node in traced.needed:
        _lower_node(lowering, node)
    gradients: dict[str, str] = {}
    for parameter, node in traced.gradients.items():
        gradients[parameter] = _own_gradient(lowering, node)
    outputs = [lowering.name(traced.output)]
    outputs += [value for value, item in lowering.values.items() if item.role is Role.LOSS]
    graph = Graph(name, lowering.values, tuple(lowering.nodes), tuple(outputs), gradients)
    graph = _name_gradients(graph)
    graph.check("lowering")
    return graph


def _gradient_shapes(traced: Traced) -> dict[Any, tuple[int, ...]]:
    """The shapes of parameters by the FX nodes that are their gradients, or become these by views."""
    shapes: dict[Any, tuple[int, ...]] = {}
    for node in traced.gradients.values():
        shape = tuple(int(size) for size in node.meta["val"].shape)
        while node not in shapes:
            shapes[node] = shape
            if not str(node.target).startswith(_VIEWS):
                break
            node = node.args[0]
    return shapes


def _own_gradient(lowering: Lowering, node: Any) -> str:
    """The value of a parameter's gradient; a copy where it is that of the activation that the parameter was added to."""
    name, shape = lowering.name(node), lowering.gradient_shape(node)
    if lowering.values[name].role is not Role.GRADIENT or shape is None:
        return name
    return lowering.add(node, ParameterSum((), shape), {"x": name})["y"]


def _lower_node(lowering: Lowering, node: Any) -> None:
    """Lower one ATen node; InputError for an operator, an argument, a type or a broadcast that no rule knows."""
    found = expression(node)
    if found is not None:
        found.rule(lowering, node, found.reads)
        return
    rule = RULES.get(str(node.target))
    if rule is None:
        raise InputError(f"{lowering.where(node)} is not supported; supported operators: {supported()}")
    types = {item.dtype for other in (node, *node.all_input_nodes) if (item := _floats(other)) is not None}
    if len(types) > 1:
        raise InputError(
            f"{lowering.where(node)}: changing to {node.meta['val'].dtype} is not supported; leave types to "
            f"{option('dtype')}"
        )
    rule(lowering, node)
    unknown = sorted(node.kwargs.keys() - _MEANINGLESS - lowering.understood.get(node, set()))
    if unknown:
        raise InputError(f"{lowering.where(node)}: {' and '.join(unknown)} cannot be set; leave it out")
    became = lowering.value(node)
    if became is not None and _squeezed(became.shape) != _squeezed(lowering.shape(node)):
        raise InputError(
            f"{lowering.where(node)}: a result of shape {lowering.shape(node)} is not supported here, only {became.shape}"
        )


def _floats(node: Any) -> torch.Tensor | None:
    """The node's result where it is one tensor of floating-point numbers."""
    result = node.meta.get("val")
    return result if isinstance(result, torch.Tensor) and result.is_floating_point() else None


def _squeezed(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size != 1]


def _name_gradients(graph: Graph) -> Graph:
    """Rename each parameter's gradient to `<parameter>.gradient`, so that every stage and report says it alike."""
    renames: dict[str, str] = {}
    values: Mapping[str, Value] = graph.values
    changed = dict(values)
    for parameter, gradient in graph.gradients.items():
        producer = graph.producer(gradient)
        if producer is None or gradient in renames or values[gradient].role is not Role.PARAMETER_GRADIENT:
            raise InputError(
                f"parameter '{parameter}' is used more than once; give each use a parameter of its own"
            )
        renames[gradient] = f"{parameter}.gradient"
    for old, new in renames.items():
        parameter = new.removesuffix(".gradient")
        value = changed.pop(old)
        changed[new] = replace(value, name=new, layout=values[parameter].layout, source=parameter)
    nodes = tuple(
        replace(
            node,
            name=renames.get(node.name, node.name),
            inputs={name: renames.get(value, value) for name, value in node.inputs.items()},
            outputs={name: renames.get(value, value) for name, value in node.outputs.items()},
        )
        for node in graph.nodes
    )
    gradients = {parameter: renames[name] for parameter, name in graph.gradients.items()}
    return replace(graph, values=changed, nodes=nodes, gradients=gradients)
