"""Optimizer updates, behind the last gradient, where it is known whether the step counts.

A step that overflowed changes nothing that outlives it. In fp32 and fp16 the updates therefore end the step, guarded; in
mixed precision and with accumulation they are a graph of their own. A large weight gradient of small operands is computed
when activations have died, so that the gradients that wait cost little memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from odl.graph import DType, Graph, Node, Role, Value
from odl.operators.optimizer import Clear, Copy, Refresh
from odl.optimizers.base import Optimizer, State, Update
from odl.passes.rewrite import renamed
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

    With `gradients_last` a weight gets its gradient after its last reader: in L1 the input gradient is then not in the way.
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
        step = _update_at_the_end(small_operands_kept(step), updates)
        return TrainingGraphs(_statistics_guarded(step), None, None, refreshing, {})
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
    return TrainingGraphs(
        _statistics_guarded(step), _graph(step, after), _graph(step, skip), refreshing, shared
    )


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


def small_operands_kept(step: Graph) -> Graph:
    """Weight gradients that are larger than what they are computed from come last, when activations have died."""
    gradients = set(step.gradients.values())
    late = [
        node
        for node in step.nodes
        if node.results
        and gradients.issuperset(node.results)
        and _bytes(step, node.results) > _bytes(step, node.reads)
    ]
    return replace(step, nodes=tuple(node for node in step.nodes if node not in late) + tuple(late))


def _bytes(step: Graph, names: Iterable[str]) -> int:
    return sum(step.value(name).size_bytes for name in names)


def _update_at_the_end(step: Graph, updates: Mapping[str, Node]) -> Graph:
    """Every update behind the last gradient; those whose gradients were made last, and may still be in L1, come first."""
    position = {name: index for index, node in enumerate(step.nodes) for name in node.results}
    latest = sorted(updates, key=lambda parameter: -position[step.gradients[parameter]])
    guarded = (replace(updates[parameter], guarded=True) for parameter in latest)
    return replace(step, nodes=(*step.nodes, *guarded))


def _statistics_guarded(step: Graph) -> Graph:
    """Running statistics change in a copy, which replaces them at the end, where the step counts."""
    written = [name for node in step.nodes for name in node.writes if step.value(name).role is Role.STATISTIC]
    if not written:
        return step
    copies = {name: f"{name}.next" for name in written}
    nodes: list[Node] = []
    for node in step.nodes:
        own = {name: copies[name] for name in node.writes if name in copies}
        nodes += [Node(f"{copy}.copy", Copy(), {"x": name}, {"y": copy}) for name, copy in own.items()]
        nodes.append(renamed(node, own))
    for name, copy in copies.items():
        nodes.append(Node(f"{name}.update", Refresh(), {"parameter": copy, "copy": name}, {}, guarded=True))
    values = {copy: replace(step.value(name), name=copy, role=Role.SAVED) for name, copy in copies.items()}
    return replace(step, nodes=tuple(nodes), values={**step.values, **values})


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
