"""Where the cycles or the instructions of a training step go, measured on a simulated device."""

from odl.bench.measure import Measurement, OperatorCount, measure

__all__ = ["Measurement", "OperatorCount", "measure"]
