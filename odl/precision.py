"""How the numbers of a network are stored and summed: fp32, fp16, or mixed (odl/passes/precision.py applies it)."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """How numbers are stored and summed."""

    FP32 = "fp32"
    FP16 = "fp16"
    MIXED = "mixed"

    @property
    def scales(self) -> bool:
        """Whether the loss scale adapts itself, so that gradients in fp16 neither overflow nor vanish."""
        return self is not Precision.FP32

    @property
    def chunk(self) -> int | None:
        """Terms after which a long sum is carried to fp32; None where it never is."""
        return 64 if self is Precision.MIXED else None
