"""Runtime and build of programs for PULP-like clusters: the CV32E40P simulator and GVSoC.

The runtime (runtime/odl_runtime.h) is the same for both; only the event load's encoding, the cycle counter and who
starts the cores differ.
"""

from odl.targets.pulp.build import MemoryLayout, build, compile_options
from odl.targets.pulp.elf import Elf, Symbol

__all__ = ["Elf", "MemoryLayout", "Symbol", "build", "compile_options"]
