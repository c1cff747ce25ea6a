"""Checks of a compiled network against float64 PyTorch."""
