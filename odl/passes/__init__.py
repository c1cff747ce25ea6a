"""Pure functions from a graph to a graph, applied in the order that `odl.compiler` gives."""
