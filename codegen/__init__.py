"""Turns a planned graph into a C project; the only place that writes C files."""
