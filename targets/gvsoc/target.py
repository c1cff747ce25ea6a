"""GVSoC's pulp-open as a target."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from odl.targets.common.requirements import Finding
from odl.targets.common.session import Session, SimulatedMachine, Unit
from odl.targets.pulp.cluster import ClusterTarget, cluster_memories
from odl.targets.target import InstructionSet, plural


@dataclass(frozen=True)
class Gvsoc(ClusterTarget):
    """Its simulator counts cycles, but does not say where they went.

    The model: L1 without bank conflicts, one FPU for every two of the eight cores. These do eight fp16
    multiply-accumulates a cycle at most.
    """

    @override
    def findings(self) -> list[Finding]:
        from odl.targets.gvsoc.launch import check_tools

        return check_tools()

    @override
    def describe(self, cores: int, machine: SimulatedMachine | None) -> str:
        return f"GVSoC's pulp-open with {plural(cores, 'core')}; four FPUs for eight cores, no bank conflicts"

    @override
    def session(self, cores: int, machine: SimulatedMachine | None = None) -> Session:
        from odl.targets.gvsoc.launch import find_gvsoc, run

        find_gvsoc()
        return Session(run, self.unit)


TARGET = Gvsoc(
    name="gvsoc",
    title="GVSoC's pulp-open: a cluster of RI5CY cores with packed FP16",
    simulator="GVSoC",
    memories=cluster_memories(64 * 1024, 1536 * 1024),
    instruction_sets=(
        InstructionSet(
            None,
            "packed fp16",
            lanes_f16=2,
            dialect="ODL_ISA_XPULP",
            # clang knows CORE-V's extensions, and none of Xpulp's.
            flags=("--target=riscv32-unknown-elf", "-march=rv32imc_zfinx_zhinx", "-mabi=ilp32"),
        ),
    ),
    unit=Unit.CYCLES,
    cores=8,
    most_cores=8,
    exchanges=True,
)
