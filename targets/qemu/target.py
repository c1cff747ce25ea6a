"""QEMU's `virt` machine as a target, with each instruction set that it emulates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from typing_extensions import override

from odl.targets.common.requirements import Finding
from odl.targets.common.session import Session, SimulatedMachine, Unit
from odl.targets.qemu.machine import INSTRUCTION_SETS, MAX_HARTS, Machine
from odl.targets.target import EXCHANGE, DeviceTarget, Memory, c_files, plural

_RUNTIME = Path(__file__).parent / "runtime"


@dataclass(frozen=True)
class Qemu(DeviceTarget):
    """Standard RISC-V. QEMU counts instructions, and has no notion of time."""

    @override
    def compile_options(self, cores: int) -> list[str]:
        return [
            *self.instruction_set.flags,
            "-ffreestanding -nostdlib -fno-common -ffunction-sections -fdata-sections -mno-relax",
            # Flags tell whether a step overflowed, so no operation may be invented, as a vectorising compiler likes to do.
            "-ffp-exception-behavior=maytrap",
            f"-DODL_CORES={cores}",
        ]

    @override
    def runtime_files(self) -> list[Path]:
        return [path for folder in (_RUNTIME, EXCHANGE) for path in c_files(folder)]

    @override
    def linker_script(self, cores: int) -> str:
        return (_RUNTIME / "link.ld").read_text(encoding="utf-8")

    @override
    def findings(self) -> list[Finding]:
        from odl.targets.qemu.emulation import check_tools

        return check_tools()

    @override
    def machine(self, cores: int, *, counted: bool = False, **choices: Any) -> Machine:
        return Machine(self.instruction_set.name or "", cores, counted=counted, **choices)

    @override
    def describe(self, cores: int, machine: SimulatedMachine | None) -> str:
        assert isinstance(machine, Machine)
        vectors = f", vector registers of {machine.vlen} bits" if machine.vectors else ""
        return f"QEMU with {plural(cores, 'hart')}, {self.instruction_set.title}{vectors}"

    @override
    def session(self, cores: int, machine: SimulatedMachine | None = None) -> Session:
        from odl.targets.qemu.emulation import find_qemu, run

        find_qemu()
        given = machine or Machine()
        assert isinstance(given, Machine)
        fitting = Machine(self.instruction_set.name or "", cores, given.vlen, given.counted)
        unit = self.unit if fitting.counted else Unit.NOTHING
        return Session(partial(run, machine=fitting), unit, fitting)


TARGET = Qemu(
    name="qemu",
    title="standard RISC-V on QEMU",
    simulator="QEMU",
    memories=(Memory("ram"),),
    instruction_sets=INSTRUCTION_SETS,
    unit=Unit.INSTRUCTIONS,
    most_cores=MAX_HARTS,
    machine_options=("vlen",),
    machine_type=Machine,
    stack_bytes=16 * 1024,
)
