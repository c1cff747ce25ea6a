"""A cluster of CV32E40P cores: the core's own RTL under Verilator, the memories around it modelled cycle by cycle.

`description` says what the machine looks like, `simulator` builds the simulator, `run` runs a program on it. Programs
are built by `odl.targets.pulp`.
"""

from odl.targets.cv32e40p.description import Cluster, InstructionCache
from odl.targets.cv32e40p.run import CoreState, Fault, Mark, RunResult, Watch, run
from odl.targets.cv32e40p.simulator import build_simulator
from odl.targets.cv32e40p.trace import Trace

__all__ = [
    "Cluster",
    "CoreState",
    "Fault",
    "InstructionCache",
    "Mark",
    "RunResult",
    "Trace",
    "Watch",
    "build_simulator",
    "run",
]
