"""Running a compiled network: the C library behind a Python interface."""
