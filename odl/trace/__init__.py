"""From a PyTorch module to the graph: tracing (the only PyTorch-private calls) and lowering of ATen operators."""
