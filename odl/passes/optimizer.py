"""Optimizer updates: beside each gradient as soon as it is complete, or all together after the step.

Weights are updated at once where nothing is accumulated and no step is ever skipped; then no gradient outlives its
layer. Mixed precision decides only after the backward pass whether the step counts, and accumulation adds steps up:
both leave the updates to a graph of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from odl.graph import DType, Graph, Node, Role, Value
from odl.operators.optimizer import Clear, Refresh
from odl.optimizers.base import Optimizer, State, Update
from odl.precision import Precision


@dataclass(frozen=True)
class TrainingGraphs:
    """The step, and what runs after it: `apply` when it counts, `skip` when it overflowed.

    `refresh` rebuilds the working copies from loaded master weights. `shared` maps a gradient to the working copy whose
    memory it takes over until the update.
    """

    step: Graph
    apply: Graph | None
    skip: Graph | None
    refresh: Graph | None
    shared: dict[str, str]


def insert_updates(
    step: Graph,
    optimizer: Optimizer,
    precision: Precision,
    accumulate: bool,
    gradients_last: bool = False,
) -> TrainingGraphs:
    """Add the optimizer's nodes and its state.

    With `gradients_last` a weight that is updated at once gets its gradient after its last reader, so that the update
    can follow immediately: in L1 the gradient then never has to wait elsewhere.
    """
    step = step.with_values(
        _state(step.value(parameter), state) for parameter in step.gradients for state in optimizer.states
    )
    update = Update(optimizer)
    updates = {
        parameter: Node(f"{parameter}.update", update, _update_inputs(step, update, parameter, gradient), {})
        for parameter, gradient in step.gradients.items()
    }
    refresh = [
        Node(f"{name}.refresh", Refresh(), {"parameter": name, "copy": f"{name}.copy"}, {})
        for name in step.values
        if f"{name}.copy" in step.values
    ]
    refreshing = _graph(step, refresh) if refresh else None
    if not accumulate and precision is not Precision.MIXED:
        if gradients_last:
            step = _weight_gradients_last(step, {gradient: name for name, gradient in step.gradients.items()})
        return TrainingGraphs(_update_at_once(step, updates), None, None, refreshing, {})
    after: list[Node] = list(updates.values())
    skip: list[Node] = []
    shared: dict[str, str] = {}
    if accumulate:
        clear = [_clear(gradient) for gradient in step.gradients.values()]
        after += clear
        skip += clear
    else:
        shared = {
            gradient: f"{parameter}.copy"
            for parameter, gradient in step.gradients.items()
            if f"{parameter}.copy" in step.values and step.value(gradient).dtype is DType.F16
        }
        skip += refresh
        step = _weight_gradients_last(step, shared)
    skipping = _graph(step, skip) if precision is Precision.MIXED else None
    return TrainingGraphs(step, _graph(step, after), skipping, refreshing, shared)


def _state(parameter: Value, state: State) -> Value:
    return replace(
        parameter,
        name=f"{parameter.name}.{state.name}",
        role=Role.OPTIMIZER,
        dtype=state.dtype or parameter.dtype,
    )


def _update_inputs(step: Graph, update: Update, parameter: str, gradient: str) -> dict[str, str]:
    """What the update is given: besides parameter and gradient the working copy and the states that exist."""
    names = {name: f"{parameter}.{name}" for name in update.inputs} | {
        "parameter": parameter,
        "gradient": gradient,
    }
    return {name: value for name, value in names.items() if value in step.values}


def _update_at_once(step: Graph, updates: dict[str, Node]) -> Graph:
    """Every update right after its gradient exists and its parameter was read for the last time."""
    position = {node.name: index for index, node in enumerate(step.nodes)}
    due: dict[int, list[Node]] = {}
    for parameter, node in updates.items():
        last = max(
            position[other.name]
            for other in step.nodes
            if parameter in other.reads or step.gradients[parameter] in other.results
        )
        due.setdefault(last, []).append(node)
    nodes: list[Node] = []
    for index, node in enumerate(step.nodes):
        nodes.append(node)
        nodes.extend(due.get(index, ()))
    return replace(step, nodes=tuple(nodes), gradients=step.gradients)


def _weight_gradients_last(step: Graph, weight_of: dict[str, str]) -> Graph:
    """Move each gradient behind the last reader of its weight, or of the working copy whose memory it takes over."""
    nodes = list(step.nodes)
    for gradient, weight in weight_of.items():
        producer = next(node for node in nodes if gradient in node.results)
        last = max(nodes.index(node) for node in nodes if weight in node.reads)
        if nodes.index(producer) < last:
            nodes.remove(producer)
            nodes.insert(last, producer)
    return replace(step, nodes=tuple(nodes))


def _clear(gradient: str) -> Node:
    return Node(f"{gradient}.clear", Clear(), {"accumulator": gradient}, {})


def _graph(step: Graph, nodes: list[Node]) -> Graph:
    used = {item for node in nodes for item in (*node.reads, *node.writes)}
    values = {key: value for key, value in step.values.items() if key in used}
    return Graph(step.name, values, tuple(nodes), ())
