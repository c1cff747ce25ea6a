"""Whether the device touched just the memory that the plan foresaw, word by word.

The simulator notes every word that a core or the DMA engine reads or writes. A plan that is too optimistic shows as a
word outside it, one that is too pessimistic as a word that nobody touched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WORD = 4
Words = NDArray[np.bool_]


@dataclass(frozen=True)
class Canary:
    """One memory: its planned peak, and the bytes that only the plan or only the device knows of."""

    memory: str
    planned_bytes: int
    touched_bytes: int
    missed: tuple[int, ...]
    """Offsets of words that the device touched outside the plan."""
    unused: tuple[int, ...]
    """Offsets of words in the plan that the device never touched."""

    @property
    def ok(self) -> bool:
        """Whether plan and device agree in every word."""
        return not self.missed and not self.unused


def planned_words(plan: Mapping[str, Any], programs: Collection[str], size: int) -> Words:
    """Words of one memory that buffers of the given programs cover; `plan` is the memory's entry in manifest.json."""
    words = np.zeros(-(-size // _WORD), dtype=bool)
    for buffer in plan["buffers"]:
        owner, slash, _ = str(buffer["name"]).partition("/")
        if slash and owner not in programs:
            continue
        end = buffer["offset"] + buffer["size_bytes"]
        words[buffer["offset"] // _WORD : -(-end // _WORD)] = True
    return words


def compare(memory: str, plan: Mapping[str, Any], programs: Collection[str], touched: Words) -> Canary:
    """The canary of one memory; `touched` are the words of the network's own region, over all calls made."""
    size = len(touched) * _WORD
    planned = planned_words(plan, programs, size)
    return Canary(
        memory,
        int(plan["peak_bytes"]),
        int(touched.sum()) * _WORD,
        tuple(int(word) * _WORD for word in np.flatnonzero(touched & ~planned)),
        tuple(int(word) * _WORD for word in np.flatnonzero(planned & ~touched)),
    )
