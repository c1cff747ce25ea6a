"""What no kernel can beat: the FPUs, the cores' load/store units and the DMA engine each need some cycles at least."""

from __future__ import annotations

import math
from dataclasses import dataclass

from odl.project.manifest import NodeEntry
from odl.targets.common.session import SimulatedMachine
from odl.targets.cv32e40p.description import Cluster

#: Bytes per cycle of a core's load/store unit and of the DMA engine.
WORD, DMA_BYTES = 4, 8


@dataclass(frozen=True)
class Bounds:
    """Least cycles of one node: `fpu` for its multiply-accumulates, `load_store` for touching every operand once,
    `dma` for the transfers beside it, the two directions at once; those that outlast a node count for the next ones."""

    fpu: int
    load_store: int
    dma: int
    operand_bytes: int

    @property
    def cycles(self) -> int:
        """Cycles that the node takes at least."""
        return max(self.fpu, self.load_store, self.dma)

    @property
    def limit(self) -> str:
        """Which of the three it is: FPU, load/store or DMA; empty where nothing is known."""
        if not self.cycles:
            return ""
        named = (("FPU", self.fpu), ("load/store", self.load_store), ("DMA", self.dma))
        return max(named, key=lambda item: item[1])[0]

    def as_json(self) -> dict[str, int]:
        """The three bounds by name."""
        return {"fpu": self.fpu, "load_store": self.load_store, "dma": self.dma}


def peak_macs(dtype: str, machine: SimulatedMachine | None) -> int:
    """Multiply-accumulates per cycle of all FPUs: two fp16 lanes each, or one of fp32."""
    cluster = _cluster(machine)
    return (cluster.fpus or cluster.cores) * (1 if dtype == "fp32" else 2)


def bounds_of(node: NodeEntry | None, macs: int, dtype: str, machine: SimulatedMachine | None) -> Bounds:
    """Bounds of a node that a manifest describes; all zero for what is no node."""
    operand_bytes = 0 if node is None else node.operand_bytes
    moved = 0 if node is None else max(node.bytes_in, node.bytes_out)
    return Bounds(
        math.ceil(macs / peak_macs(dtype, machine)),
        math.ceil(operand_bytes / WORD / _cluster(machine).cores),
        math.ceil(moved / DMA_BYTES),
        operand_bytes,
    )


def _cluster(machine: SimulatedMachine | None) -> Cluster:
    """The only machine whose bounds are known, as it is the only one with counters."""
    assert isinstance(machine, Cluster)
    return machine
