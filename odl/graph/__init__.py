"""The typed graph that every stage after tracing works on."""

from odl.graph.ir import DType, Graph, Layout, Node, Purpose, Role, Value
from odl.graph.operator import AbstractOperator, InPlace

__all__ = ["AbstractOperator", "DType", "Graph", "InPlace", "Layout", "Node", "Purpose", "Role", "Value"]
