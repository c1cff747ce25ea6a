"""What a simulator of a target must offer for a network to run on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.bool_]


@dataclass(frozen=True)
class Glimpse:
    """A part of a planned memory ("l1", "l2", "ram") that is wanted as it is when the program makes a mark."""

    mark: int
    memory: str
    offset: int
    bytes: int


@dataclass(frozen=True)
class Outcome:
    """What one call on the simulator gave."""

    dumps: Mapping[str, bytes]
    marks: tuple[tuple[int, int], ...]
    """Every mark in order, with the count at that moment."""
    seen: Mapping[Glimpse, tuple[bytes, ...]]
    """What each glimpse saw, one entry for each time that its mark was made."""
    touched: Mapping[str, Words]
    """Per planned memory and word: whether the network touched it; empty where the simulator does not know."""


class Simulator(Protocol):
    """Runs a project's program, from the given contents of variables to the wanted ones."""

    @property
    def unit(self) -> str:
        """What marks count: cycles or instructions; empty where this one counts nothing."""
        ...

    def call(
        self,
        program: Path,
        load: Mapping[str, bytes],
        dump: Sequence[str],
        glimpses: Sequence[Glimpse],
    ) -> Outcome:
        """One run. CheckFailedError where the program fails, MissingToolError where the simulator is missing."""
        ...
