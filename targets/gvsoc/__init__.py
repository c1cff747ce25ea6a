"""GVSoC's pulp-open: a fabric controller and a cluster of eight RI5CY cores that share four FPUs.

GVSoC is the user's own installation. `tools` finds it, `run` runs a program on it. Data goes in and comes out by files that
the program itself reads and writes through semihosting (runtime/exchange.c), because that leaves the ELF alone and works
with every release: GVSoC has no option to fill or to dump memory. The rest of the runtime is targets/pulp's.
"""

from odl.targets.gvsoc.exchange import Mark, Watch
from odl.targets.gvsoc.run import RunResult, run

__all__ = ["Mark", "RunResult", "Watch", "run"]
