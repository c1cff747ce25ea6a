"""The simulated cluster of CV32E40P cores as a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from odl.targets.common.requirements import Finding
from odl.targets.common.session import Session, SimulatedMachine, Unit
from odl.targets.cv32e40p.description import Cluster, InstructionCache
from odl.targets.pulp.cluster import ClusterTarget, cluster_memories
from odl.targets.target import InstructionSet

_DEFAULT = Cluster()


@dataclass(frozen=True)
class Cv32e40p(ClusterTarget):
    """Its simulator tells where every cycle went, and which words were touched."""

    @override
    def findings(self) -> list[Finding]:
        from odl.targets.common.build_cache import cache_folder
        from odl.targets.cv32e40p.find_tools import check_tools

        return check_tools(cache_folder() / "verilator")

    @override
    def machine(self, cores: int, *, counted: bool = False, **choices: Any) -> Cluster:
        ideal = choices.pop("ideal_icache", False)
        return Cluster(cores=cores, icache=None if ideal else InstructionCache(), **choices)

    @override
    def describe(self, cores: int, machine: SimulatedMachine | None) -> str:
        assert isinstance(machine, Cluster)
        fpus = f"{machine.fpus} shared FPUs" if machine.fpus else "an FPU each"
        cache = "instruction cache modelled" if machine.icache else "ideal instruction cache"
        return (
            f"{machine.cores} cores with {fpus}, FPU latency {machine.fpu_latency}, L1 {machine.l1_bytes // 1024} KiB "
            f"in {machine.l1_banks} banks, L2 {machine.l2_bytes // 1024} KiB, {cache}"
        )

    @override
    def session(self, cores: int, machine: SimulatedMachine | None = None) -> Session:
        from odl.targets.cv32e40p.run_program import ClusterSession

        cluster = machine or Cluster(cores=cores)
        assert isinstance(cluster, Cluster)
        return ClusterSession.on(cluster)


TARGET = Cv32e40p(
    name="cv32e40p",
    title="a cluster of CV32E40P cores with packed FP16",
    simulator="the simulated cluster",
    memories=cluster_memories(_DEFAULT.l1_bytes, _DEFAULT.l2_bytes),
    instruction_sets=(
        InstructionSet(
            None,
            "packed fp16",
            lanes_f16=2,
            dialect="ODL_ISA_XCV",
            flags=(
                "--target=riscv32-unknown-elf",
                "-march=rv32imc_zfinx_zhinx_xcvmem_xcvalu_xcvsimd_xcvmac",
                "-mabi=ilp32",
            ),
        ),
    ),
    unit=Unit.CYCLES,
    cores=_DEFAULT.cores,
    machine_options=("fpus", "fpu_latency", "ideal_icache"),
    machine_type=Cluster,
    traces=True,
    tuned=True,
    has_controller=True,
)
