"""How the bytes of a tensor lie: its axes in the order of memory, and strides along the axes of another tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence

from odl.graph import Layout, Shape, Value


def strides(value: Value, shape: Shape, seen: Shape | None = None) -> list[int]:
    """Elements from one index to the next along each axis of a tensor of that shape, over which the value is repeated.

    Its own axes are the last ones; `seen` is the shape under which the value is seen, where that is not its own. 0 where it
    is repeated. ValueError where the shapes do not go together.
    """
    own = value.shape if seen is None else seen
    if seen is not None and [size for size in seen if size != 1] != [
        size for size in value.shape if size != 1
    ]:
        raise ValueError(f"{value.shape} cannot be seen as {seen}")
    order = value.layout.permutation(len(own)) if seen is None else tuple(range(len(own)))
    steps, step = dict[int, int](), 1
    for axis in reversed(order):
        steps[axis] = step
        step *= own[axis]
    missing = len(shape) - len(own)
    if missing < 0 or any(size not in (1, whole) for size, whole in zip(own, shape[missing:], strict=True)):
        raise ValueError(f"{own} cannot be repeated to {shape}")
    return [0] * missing + [0 if size == 1 else steps[axis] for axis, size in enumerate(own)]


def in_memory_order(layout: Layout, items: Sequence[int]) -> list[int]:
    """What belongs to each axis, in the order of memory."""
    return [items[axis] for axis in layout.permutation(len(items))]


def merged(sizes: Sequence[int], *operands: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """Sizes in the order of memory and strides of operands, with axes joined that every operand walks through as one."""
    axes: list[tuple[int, list[int]]] = []
    for size, *steps in zip(sizes, *operands, strict=True):
        if size == 1:
            continue
        if axes and axes[-1][1] == [step * size for step in steps]:
            axes[-1] = (axes[-1][0] * size, steps)
        else:
            axes.append((size, steps))
    axes = axes or [(math.prod(sizes), [0] * len(operands))]
    return [size for size, _ in axes], [[steps[i] for _, steps in axes] for i in range(len(operands))]
