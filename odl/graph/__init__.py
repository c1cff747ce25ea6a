"""The typed graph that every stage after tracing works on."""

from odl.graph.ir import Graph, GraphError, Node
from odl.graph.operator import AbstractOperator, Array, InPlace, Shape
from odl.graph.value import DType, Layout, Purpose, Role, Value

__all__ = [
    "AbstractOperator", "Array", "DType", "Graph", "GraphError", "InPlace", "Layout", "Node", "Purpose", "Role", "Shape",
    "Value",
]  # fmt: skip
