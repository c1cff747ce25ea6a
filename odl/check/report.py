"""What `odl verify` found: a row for each tensor and what was checked of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

#: A tensor and what of it: gradient, weight, optimizer, statistic, loss, inference.
Key = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """One tensor's worst error over all steps; `bit_exact` is None where there is nothing to compare bits with.

    `underflow`: of a gradient that is stored in fp16, the share of numbers below fp16's normal range at the loss scale.
    """

    tensor: str
    kind: str
    rel_l2: float
    bound: float
    bit_exact: bool | None
    ok: bool
    underflow: float | None = None

    @property
    def key(self) -> Key:
        """The tensor, and what of it."""
        return self.tensor, self.kind

    def as_json(self) -> dict[str, Any]:
        """The row of `odl verify --json`; an error that is not finite is null."""
        error = self.rel_l2 if np.isfinite(self.rel_l2) else None
        return {**asdict(self), "rel_l2": error}


@dataclass(frozen=True)
class Report:
    """All rows, and the one nearest to (or farthest over) its bound."""

    rows: tuple[Row, ...]
    bits: Mapping[Key, bytes] = field(default_factory=dict, repr=False)
    """A digest of everything that was seen of each tensor."""
    notes: tuple[str, ...] = ()
    """What else is to be said, a line each; `odl.errors.in_python` spells the options in it."""

    def compared(self, other: Report) -> Report:
        """This report with its bits compared with another's: a row whose bits differ does not hold.

        Nor does a tensor that only one of them has.
        """
        rows = []
        for row in self.rows:
            if row.key in self.bits or row.key in other.bits:
                equal = self.bits.get(row.key) == other.bits.get(row.key)
                row = replace(row, bit_exact=equal, ok=row.ok and equal)
            rows.append(row)
        for key in sorted((self.bits.keys() ^ other.bits.keys()) - {row.key for row in rows}):
            rows.append(Row(*key, math.nan, 0.0, False, False))
        return replace(self, rows=tuple(rows))

    @property
    def with_bits(self) -> tuple[Row, ...]:
        """The rows whose bits were compared."""
        return tuple(row for row in self.rows if row.bit_exact is not None)

    def as_json(self) -> list[dict[str, Any]]:
        """The rows of `odl verify --json`."""
        return [row.as_json() for row in self.rows]

    @property
    def ok(self) -> bool:
        """Whether every row holds."""
        return all(row.ok for row in self.rows)

    @property
    def worst(self) -> Row:
        """The row with the largest error relative to its bound; a failed row before any other."""

        def badness(row: Row) -> tuple[bool, float]:
            ratio = row.rel_l2 / row.bound if row.bound > 0 else row.rel_l2
            return (not row.ok, float("inf") if np.isnan(ratio) else ratio)

        return max(self.rows, key=badness)
