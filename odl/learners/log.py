"""Learning that can be undone for any sample, to the bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from odl.errors import InputError
from odl.learners.base import Learner, setting
from odl.option_kinds import whole


@dataclass(frozen=True)
class Log(Learner):
    """A log of what was learned in which order, and training states in between.

    To forget a sample the device goes back to the last state before it and learns again what came after, but for that
    sample. The states bound how much that is, as slices do in SISA training (Bourtoule et al. 2021, section IV.B; here
    with one shard), and every bit is that of a device that never had the sample.
    """

    name: ClassVar[str] = "log"
    text: ClassVar[str] = "samples as they were learned, so that any can be forgotten to the bit"

    samples: int = setting(64, whole(1, 65535), "Steps that the log has room for")
    states: int = setting(4, whole(1, 1024), "Training states that the log keeps, at equal distances")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.states > self.samples:
            raise InputError(
                f"{self.option('states', self.states)}: must not be more than {self.option('samples')}, {self.samples}"
            )

    @property
    def slice(self) -> int:
        """Steps between two training states."""
        return -(-self.samples // self.states)

    @property
    def kept_states(self) -> int:
        """Training states that are needed for that."""
        return -(-self.samples // self.slice)
