"""The deployments that the demonstration follows."""

from __future__ import annotations

from odl.demo.deployment import Scenario
from odl.learning.pretrain import RESNET8

SCENARIOS = (
    Scenario(
        network="resnet8",
        recipe=RESNET8,
        easy="digits",
        hard="digits-photos",
        story="Handwritten digits on plain ground; the device then meets digits on photographs.",
    ),
)
