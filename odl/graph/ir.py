"""The graph: nodes (one operator each) over named values, and the order they run in.

Shapes are PyTorch's (activations N,C,H,W; weights out,in,h,w); `Layout` says how the bytes lie in memory.
Everything is immutable: a pass takes a graph and returns another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from odl.errors import CheckFailedError
from odl.graph.operator import AbstractOperator
from odl.graph.value import DType, Layout, Purpose, Role, Value

__all__ = ["DType", "Graph", "GraphError", "Layout", "Node", "Purpose", "Role", "Value"]


class GraphError(CheckFailedError):
    """A graph does not hold together, which is a defect of odl; the message names graph, stage, node and value."""


@dataclass(frozen=True)
class Node:
    """One operator applied to values: `inputs` and `outputs` map the operator's names to the values' names.

    Both are in the operator's order; what is absent (an optional input, a gradient that nobody wants) has no entry.
    A `guarded` node changes what outlives the step: it runs only where the step counts. `layer` is the path, in the user's
    model, of the module that it computes for; "" for the model itself and for what belongs to no module.
    """

    name: str
    operator: AbstractOperator
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    guarded: bool = False
    layer: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the values that the node reads."""
        return tuple(self.inputs.values())

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the values that the node makes."""
        return tuple(self.outputs.values())

    @property
    def writes(self) -> tuple[str, ...]:
        """Names of the values that the node writes: its results and the inputs that it updates in place."""
        return self.results + tuple(
            self.inputs[name] for name in self.operator.updated if name in self.inputs
        )


@dataclass(frozen=True)
class Graph:
    """Nodes in running order over named values.

    `outputs` are the values that must exist at the end; `gradients` maps a parameter's value to its gradient's.
    """

    name: str
    values: Mapping[str, Value]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    gradients: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> Value:
        """The value of that name."""
        return self.values[name]

    def producer(self, name: str) -> Node | None:
        """The node whose output the value is, or None for inputs and parameters."""
        return next((node for node in self.nodes if name in node.results), None)

    def consumers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read the value."""
        return tuple(node for node in self.nodes if name in node.reads)

    def is_output(self, name: str) -> bool:
        """Whether somebody outside the graph needs the value."""
        return name in self.outputs or name in self.gradients.values()

    def with_nodes(self, nodes: Iterable[Node]) -> Graph:
        """The same graph with other nodes; values that no node and no output names are dropped, inputs never."""
        kept = tuple(nodes)
        used = set(self.outputs) | set(self.gradients.values()) | set(self.gradients)
        for node in kept:
            used.update(node.reads)
            used.update(node.results)
        values = {
            name: value for name, value in self.values.items() if name in used or value.role.from_caller
        }
        return replace(self, nodes=kept, values=values)

    def with_values(self, changed: Iterable[Value]) -> Graph:
        """The same graph with some values added or replaced by name."""
        return replace(self, values={**self.values, **{value.name: value for value in changed}})

    def check(self, stage: str) -> None:
        """GraphError, a defect of odl, unless the graph that `stage` gave holds together.

        Names exist and stand for one thing each. Every value has one producer, before its readers, or is given: it outlives
        programs, its caller writes it, or it has a role that programs hand on. Inputs and outputs are
        the operator's, in its order. Shapes are those of the operator's rule. A node gives and updates values of roles
        that it may give and update, in a type that the role has; what is stored in fp16 together has one type.
        """
        fault = next(_faults(self), None)
        if fault is not None:
            raise GraphError(f"graph '{self.name}' after {stage}: {fault}")

    def dump(self) -> str:
        """Text of the graph, one node a line; stable, for `odl compile --dump` and for tests."""
        lines = [f"graph {self.name}"]
        for name, value in self.values.items():
            if self.producer(name) is None:
                lines.append(f"  {_describe(value)}")
        for node in self.nodes:
            inputs = ", ".join(f"{name}={value}" for name, value in node.inputs.items())
            outputs = ", ".join(_describe(self.values[name]) for name in node.results)
            guard = " where the step counts" if node.guarded else ""
            lines.append(
                f"  {node.name}: {node.operator.describe()}({inputs}) -> {outputs or '(in place)'}{guard}"
            )
        lines.append(f"  return {', '.join(self.outputs)}")
        for parameter, gradient in self.gradients.items():
            lines.append(f"  gradient {parameter} = {gradient}")
        return "\n".join(lines) + "\n"


def _describe(value: Value) -> str:
    shape = "x".join(str(size) for size in value.shape)
    return f"{value.name}: {value.role} {value.dtype}[{shape}] {value.layout}"


def _faults(graph: Graph) -> Iterator[str]:
    """What is wrong with a graph, in words; every check may rely on those before it."""
    named = {*graph.outputs, *graph.gradients, *graph.gradients.values()}
    for node in graph.nodes:
        named.update(node.reads, node.results)
    yield from (f"there is no value '{name}'" for name in sorted(named - graph.values.keys()))
    yield from (
        f"value '{value.name}' is called '{name}'"
        for name, value in graph.values.items()
        if value.name != name
    )
    names = Counter(node.name for node in graph.nodes)
    yield from (f"two nodes are called '{name}'" for name, count in names.items() if count > 1)
    yield from _order_faults(graph)
    for node in graph.nodes:
        yield from (f"node '{node.name}': {fault}" for fault in _node_faults(graph, node))
    yield from _value_faults(graph)


#: Roles of what a node gives, by its pass.
_FORWARD = {
    Role.ACTIVATION,
    Role.SAVED,
    Role.WORK,
    Role.LOSS,
    Role.GRADIENT,
    Role.PARAMETER_GRADIENT,
}  # views are forward
_GIVES = {
    "forward": _FORWARD,
    "input_gradient": {Role.GRADIENT, Role.PARAMETER_GRADIENT},
    "weight_gradient": {Role.PARAMETER_GRADIENT},
    "update": set[Role](),
}


def _is_given(value: Value) -> bool:
    """Whether the value is there before a program begins."""
    return value.role.persistent or value.role.from_caller


def _order_faults(graph: Graph) -> Iterator[str]:
    own = set(graph.gradients.values())
    exist = {
        name
        for name, value in graph.values.items()
        if _is_given(value) or (value.role.handed_on and name not in own)
    }
    made: set[str] = set()
    for node in graph.nodes:
        for name in node.results:
            if name in made or _is_given(graph.values[name]):
                yield f"node '{node.name}' makes '{name}', which has a producer or is given"
        made.update(node.results)
    exist -= made
    for node in graph.nodes:
        yield from (
            f"node '{node.name}' reads '{name}' before it exists" for name in node.reads if name not in exist
        )
        exist.update(node.results)
    yield from (f"no node makes '{name}'" for name in (*graph.outputs, *own) if name not in exist)


def _node_faults(graph: Graph, node: Node) -> Iterator[str]:
    operator = node.operator
    for kind, given, declared in (
        ("input", node.inputs, operator.inputs),
        ("output", node.outputs, operator.outputs),
    ):
        if list(given) != [name for name in declared if name in given]:
            yield f"{kind}s {', '.join(given)}, of which the operator has {', '.join(declared)}"
    missing = [name for name in operator.inputs if name not in node.inputs and name not in operator.optional]
    if missing:
        yield f"no {' and no '.join(missing)}"
    try:
        shapes = operator.shapes({name: graph.values[value].shape for name, value in node.inputs.items()})
    except ValueError as error:
        yield str(error)
    else:
        got = {name: graph.values[value].shape for name, value in node.outputs.items()}
        if got != shapes:
            yield f"outputs of shapes {got}, of which the operator gives {shapes}"
    for name in node.results:
        if graph.values[name].role not in _GIVES[operator.pass_name]:
            yield f"a {operator.pass_name} node gives '{name}', whose role is {graph.values[name].role}"
    for name in (node.inputs[name] for name in operator.updated if name in node.inputs):
        role = graph.values[name].role
        if not role.persistent and role not in (Role.PARAMETER_GRADIENT, Role.SAVED, Role.WORK):
            yield f"it updates '{name}', whose role is {role}"


def _value_faults(graph: Graph) -> Iterator[str]:
    for value in graph.values.values():
        if value.dtype not in value.role.dtypes:
            yield f"'{value.name}' is stored in {value.dtype}, which the role {value.role} never is"
    types = {value.dtype for value in graph.values.values() if value.role.half}
    if len(types) > 1:
        yield f"activations and their gradients are stored in {' and '.join(sorted(types))}"
    for name, gradient in graph.gradients.items():
        parameter, value = graph.values[name], graph.values[gradient]
        if (parameter.role, value.role) != (Role.PARAMETER, Role.PARAMETER_GRADIENT):
            yield f"'{gradient}' ({value.role}) is the gradient of '{name}' ({parameter.role})"
        if (parameter.shape, parameter.layout) != (value.shape, value.layout):
            yield f"'{name}' and its gradient differ in shape or layout"
