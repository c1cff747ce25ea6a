"""The typed graph that every stage after tracing works on."""

from odl.graph.ir import DType, Graph, Layout, Node, Role, Value

__all__ = ["DType", "Graph", "Layout", "Node", "Role", "Value"]
