"""What a firmware reads to see that training has settled, or that the world has changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from odl.learners.base import Learner, setting
from odl.option_kinds import whole


@dataclass(frozen=True)
class Watch(Learner):
    """Running means of the loss, over training steps, and of the entropy of the outputs, over inferences.

    A loss that falls no more says that training may stop; an entropy that rises says that inputs have drifted away from
    what the network knows (Wang et al. 2021, arXiv:2006.10726, use the same measure without labels).
    """

    name: ClassVar[str] = "watch"
    text: ClassVar[str] = "running means of loss and of the outputs' entropy"

    horizon: int = setting(64, whole(1, 65535), "About how many of the latest a running mean is over")
