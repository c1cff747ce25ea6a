"""Jinja templates of the C kernels, one operator per file, and the ISA headers they are written over."""
