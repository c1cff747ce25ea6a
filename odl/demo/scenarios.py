"""The deployments that the demonstration follows."""

from __future__ import annotations

from odl.demo.deployment import Scenario
from odl.learning.pretrain import DSCNN, RESNET8

SCENARIOS = (
    Scenario(
        network="resnet8",
        recipe=RESNET8,
        easy="digits",
        hard="digits-photos",
        story="Handwritten digits on plain ground; the device then meets digits on photographs.",
    ),
    Scenario(
        network="dscnn",
        recipe=DSCNN,
        easy="keywords-clean",
        hard="keywords-noisy",
        story="Twelve keywords in a quiet room; the device then hears them in noise. No voice is in two splits.",
    ),
)
