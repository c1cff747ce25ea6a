"""Which order of bytes every activation has: channels last where kernels treat channels, else as it comes.

Elementwise operators take any order that all their operands have, and views keep the bytes where they are. A copy stands
where an operator needs another order than its input has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from odl.errors import InputError
from odl.graph import Graph, Layout, Node, Role, Value
from odl.operators.base import AnyOrder, Elementwise
from odl.operators.loss import MeanSquaredError
from odl.operators.shape import ChangeLayout, Reshape, same_bytes

#: Ranks and roles of values whose order of bytes is chosen here.
_RANKS = (3, 4)
_CHOSEN = {Role.INPUT, Role.ACTIVATION, Role.GRADIENT, Role.SAVED, Role.TARGET}


def choose_layouts(graph: Graph) -> Graph:
    """Give every activation and gradient its layout, and put a copy where bytes must move."""
    return _Choice(graph).made()


@dataclass
class _Choice:
    """The graph while layouts are chosen, node by node."""

    graph: Graph
    values: dict[str, Value] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def made(self) -> Graph:
        """The graph with layouts."""
        self.values = dict(self.graph.values)
        for value in self.graph.values.values():
            any_order = self._readers_take_any(value.name)
            if value.role is Role.INPUT and len(value.shape) == 3 and any_order and not any(any_order):
                self.values[value.name] = replace(value, layout=Layout.NHWC)
        for node in self.graph.nodes:
            if isinstance(node.operator, Reshape):
                self._reshape(node)
            else:
                self._place(node)
        return replace(self.graph, values=self.values).with_nodes(self.nodes)

    def _readers_take_any(self, name: str) -> list[bool]:
        """Of each reader whether it takes any order of bytes, and has no other operand that may have another."""
        return [
            isinstance(node.operator, AnyOrder | Reshape | MeanSquaredError)
            or (isinstance(node.operator, Elementwise) and len(node.inputs) == 1)
            for node in self.graph.consumers(name)
        ]

    def _place(self, node: Node) -> None:
        """The node with all its activations in one layout."""
        given = {name: self.values[value] for name, value in node.inputs.items() if self._is_chosen(value)}
        if isinstance(node.operator, AnyOrder):
            self._place_as_it_comes(node, node.operator)
            return
        layout = self._layout_of(node, given)
        for name, value in given.items():
            if value.role is Role.TARGET:  # the caller gives it as the network gives its output
                given[name] = self.values[value.name] = replace(value, layout=layout)
        inputs = {name: self._in_layout(value, layout, node.layer) for name, value in given.items()}
        self.nodes.append(replace(node, inputs={**node.inputs, **inputs}))
        for name in node.results:
            if self._is_chosen(name):
                self.values[name] = replace(self.values[name], layout=layout)

    def _place_as_it_comes(self, node: Node, operator: AnyOrder) -> None:
        """The node with its operands as they lie, or flat where its output could not lie in a layout, or its own."""
        given = {key: self.values[value] for key, value in node.inputs.items()}
        given = {key: value for key, value in given.items() if value.role in _CHOSEN}
        (name,) = node.results
        output = self.values[name]
        chosen = self._is_chosen(name)
        layout = operator.layout(given, output.shape)
        if layout is None or (len(output.shape) > 2 and not chosen and layout is not output.layout):
            given = {
                key: self.values[self._in_layout(value, Layout.FLAT, node.layer)]
                for key, value in given.items()
            }
            layout = operator.layout(given, output.shape)
        if layout is None:
            raise InputError(f"'{node.name}' gives no order of {output.shape} that a layout has")
        inputs = {
            key: self._in_layout(value, layout, node.layer)
            if operator.one_order or (value.shape == output.shape and operator.repeats)
            else value.name
            for key, value in given.items()
        }
        placed = operator.placed(given, layout)
        self.nodes.append(replace(node, operator=placed, inputs={**node.inputs, **inputs}))
        if chosen:
            self.values[name] = replace(output, layout=layout)

    def _is_chosen(self, name: str) -> bool:
        value = self.values[name]
        return value.role in _CHOSEN and len(value.shape) in _RANKS

    def _layout_of(self, node: Node, given: Mapping[str, Value]) -> Layout:
        if not given or not isinstance(node.operator, Elementwise | MeanSquaredError):
            return Layout.NHWC
        return next(iter(given.values())).layout

    def _in_layout(self, value: Value, layout: Layout, layer: str) -> str:
        """The value, or for that layer a copy of it, or where the bytes are the same another view of it, in the layout."""
        if value.layout is layout:
            return value.name
        name = f"{value.name}.{'flat' if layout is Layout.FLAT else 'channels_last'}"
        if name not in self.values:
            role = Role.ACTIVATION if value.role is Role.INPUT else value.role
            self.values[name] = Value(name, value.shape, role, value.dtype, layout)
            moved = not same_bytes(value.shape, value.layout, value.shape, layout)
            change = ChangeLayout(value.shape, to_channels_first=layout is Layout.FLAT)
            operator = change if moved else Reshape(value.shape)
            self.nodes.append(Node(name, operator, {"x": value.name}, {"y": name}, layer=layer))
        return name

    def _reshape(self, node: Node) -> None:
        """A view in the first layout that leaves the bytes alone; a copy where a flattened image meets a linear layer."""
        before, after = self.values[node.inputs["x"]], self.values[node.outputs["y"]]
        usual = after.layout
        possible = (usual, Layout.FLAT, Layout.NHWC) if len(after.shape) in _RANKS else (usual,)
        for layout in possible:
            if same_bytes(before.shape, before.layout, after.shape, layout):
                if layout is not usual and not all(self._readers_take_any(after.name)):
                    break  # the copy belongs here, where every reader gains by it
                self.values[after.name] = replace(after, layout=layout)
                self.nodes.append(node)
                return
        name = f"{node.name}.layout"
        if before.layout is Layout.FLAT:
            self.values[name] = Value(name, after.shape, after.role, after.dtype, Layout.FLAT)
            self.nodes.append(replace(node, name=name, outputs={"y": name}))
            back = ChangeLayout(after.shape, to_channels_first=False)
            self.nodes.append(replace(node, operator=back, inputs={"x": name}))
            return
        self.values[name] = Value(name, before.shape, after.role, before.dtype, Layout.FLAT)
        first = ChangeLayout(before.shape, to_channels_first=True)
        self.nodes.append(Node(name, first, {"x": before.name}, {"y": name}, layer=node.layer))
        self.nodes.append(replace(node, inputs={"x": name}))
        self.values[after.name] = replace(after, layout=Layout.FLAT)
