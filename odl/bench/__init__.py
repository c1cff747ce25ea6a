"""Where the cycles of a training step go, measured on a simulated device; on QEMU, its instructions."""

from odl.bench.instructions import InstructionCount, count_instructions
from odl.bench.measure import Measurement, OperatorCycles, measure

__all__ = ["InstructionCount", "Measurement", "OperatorCycles", "count_instructions", "measure"]
