"""Jobs: one simulation of several variants of a case, as a value that another process or machine can work on.

A job holds C texts and numbers only: whoever measures it needs odl's targets and headers, but neither PyTorch nor a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from odl.targets.cv32e40p.description import Cluster


@dataclass(frozen=True)
class Field:
    """An operand: name, NumPy type, elements, byte offset, whether the kernel writes it."""

    name: str
    dtype: str
    count: int
    offset: int
    written: bool


@dataclass(frozen=True)
class Job:
    """What to measure: `variants` names the ways to compute the case `key`, the first the one that others are compared
    with; `functions` their kernels. `max_cycles` ends a kernel that never would."""

    key: str
    variants: tuple[str, ...]
    functions: tuple[str, ...]
    kernels: Mapping[str, str]
    header: str
    program: str
    fields: tuple[Field, ...]
    total_bytes: int
    cluster: Cluster
    headers: str
    max_cycles: int


@dataclass(frozen=True)
class Timing:
    """A variant's cycles from its start to the last core's barrier, or what is wrong with it."""

    variant: str
    cycles: int | None
    problem: str | None = None


@dataclass(frozen=True)
class Measured:
    """What a job gave, in the order of its variants."""

    key: str
    timings: tuple[Timing, ...]
