"""Where the cycles of a training step go, measured on a simulated device."""

from odl.bench.measure import Measurement, OperatorCycles, measure

__all__ = ["Measurement", "OperatorCycles", "measure"]
