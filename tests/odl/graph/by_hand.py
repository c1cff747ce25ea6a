"""Small graphs that a test writes down node by node: images of two channels and 1x1 convolutions."""

from __future__ import annotations

from odl.graph import Graph, Layout, Node, Role, Value
from odl.operators.convolution import Conv2d
from odl.operators.convolution_gradients import Conv2dInputGradient
from odl.operators.elementwise import Add, Relu, ReluGradient
from odl.operators.window import Window


def image(name: str, channels: int = 2, role: Role = Role.ACTIVATION) -> Value:
    return Value(name, (1, channels, 4, 4), role, layout=Layout.NHWC)


def by_hand(nodes: list[Node], outputs: tuple[str, ...], gradients: dict[str, str] | None = None) -> Graph:
    """A graph over images of two channels; w1, w2 are 1x1 weights, every other name an activation."""
    names = [name for item in nodes for name in (*item.reads, *item.results)]
    values = {name: image(name) for name in names if not name.startswith("w")}
    if "x" in values:
        values["x"] = image("x", role=Role.INPUT)
    weights = sorted({name for name in names if name.startswith("w")})
    values |= {name: Value(name, (2, 2, 1, 1), Role.PARAMETER, layout=Layout.OHWI) for name in weights}
    return Graph("g", values, tuple(nodes), outputs, gradients or {})


POINT = Window((1, 1))
CONV = Conv2d(POINT)
BACK = Conv2dInputGradient(POINT, (1, 2, 4, 4))
IMAGE = "activation f32[1x2x4x4] nhwc"


def conv(name: str, x: str, weight: str = "w1") -> Node:
    return Node(name, CONV, {"x": x, "weight": weight}, {"y": name})


def back(name: str, dy: str, weight: str = "w1") -> Node:
    return Node(name, BACK, {"dy": dy, "weight": weight}, {"dx": name})


def relu(name: str, x: str) -> Node:
    return Node(name, Relu(), {"x": x}, {"y": name})


def add(name: str, a: str, b: str) -> Node:
    return Node(name, Add(), {"a": a, "b": b}, {"y": name})


def mask(name: str, dy: str, y: str) -> Node:
    return Node(name, ReluGradient(0.0, 6.0), {"dy": dy, "y": y}, {"dx": name})
