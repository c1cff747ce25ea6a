"""Samples of the past beside the new ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from odl.learners.base import Learner, setting
from odl.option_kinds import one_of, whole

RESERVOIR, BALANCED = "reservoir", "balanced"


@dataclass(frozen=True)
class Replay(Learner):
    """A buffer of samples that were learned, some of which every step learns again (Chaudhry et al. 2019).

    `reservoir`: each sample so far is in the buffer with the same probability (Vitter 1985, algorithm R). `balanced`: so is
    each of its class, and the classes have equal shares (Chrysakis and Moens 2020, algorithm 1).
    """

    name: ClassVar[str] = "replay"
    text: ClassVar[str] = "a buffer of past samples, learned again beside new ones"

    samples: int = setting(120, whole(1, 65535), "Samples that the buffer has room for")
    mix: int = setting(3, whole(1, 255), "Samples of the buffer that are learned beside a new one")
    eviction: str = setting(
        BALANCED,
        one_of(BALANCED, RESERVOIR),
        "Which sample a new one takes the place of: balanced or reservoir",
    )
