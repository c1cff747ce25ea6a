"""A trace of a window of cycles: program counters, instructions, buses and stalls of the cores, as a VCD file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from odl.errors import InputError
from odl.targets.cv32e40p.description import Cluster


@dataclass(frozen=True)
class Trace:
    """What to trace. A cycle with all signals of one core takes some 50 to 200 bytes."""

    file: Path
    """Written in the VCD format; one unit of time is one cycle."""
    first_cycle: int = 0
    last_cycle: int = 100_000
    """Included."""
    core: int | None = None
    """None: every core."""

    def simulator_arguments(self, cluster: Cluster) -> list[str]:
        """The trace as options of the simulator. Raises InputError for an empty window or a core that is not there."""
        if not 0 <= self.first_cycle <= self.last_cycle:
            raise InputError(f"trace of cycles {self.first_cycle} to {self.last_cycle}: there are none")
        cores = cluster.cores + cluster.controller
        if self.core is not None and not 0 <= self.core < cores:
            raise InputError(f"trace of core {self.core}: the cluster has cores 0 to {cores - 1}")
        arguments = ["--trace", str(self.file), "--trace-first", str(self.first_cycle)]
        arguments += ["--trace-last", str(self.last_cycle)]
        return arguments if self.core is None else [*arguments, "--trace-core", str(self.core)]
