"""Runs a program on QEMU: data in, data out, and the instructions of all harts at every mark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from odl.targets.common.exchange import DEFAULT_SECONDS, execute, run_exchanging
from odl.targets.common.session import RunResult, Session, Unit, Watch
from odl.targets.qemu.emulator import PROGRAM, find_qemu
from odl.targets.qemu.machine import Machine

#: The boot image, and no device but the machine's own; files of the host by semihosting.
_OPTIONS = "-bios none -display none -serial none -monitor none -nodefaults -semihosting-config enable=on,target=native"


def run(
    elf: Path,
    machine: Machine | None = None,
    *,
    load: Mapping[str, bytes] | None = None,
    dump: Iterable[str] = (),
    watch: Sequence[Watch] = (),
    seconds: float = DEFAULT_SECONDS,
) -> RunResult:
    """See `run_exchanging`; counts mean something only where the machine counts. `seconds` ends a run that never would.

    MissingToolError without QEMU.
    """
    machine = machine or Machine()

    def emulate(folder: Path) -> tuple[int | None, str]:
        command = [PROGRAM, *machine.arguments(find_qemu()), *_OPTIONS.split(), "-kernel", str(elf.resolve())]
        return execute(command, folder, seconds)

    return run_exchanging(elf, "QEMU", emulate, load, dump, watch)


@dataclass
class QemuSession(Session):
    """Counts instructions, where the machine counts."""

    emulated: Machine

    @property
    @override
    def unit(self) -> Unit:
        return Unit.INSTRUCTIONS if self.emulated.counted else Unit.NOTHING

    @property
    @override
    def machine(self) -> Machine:
        return self.emulated

    @override
    def run(
        self, program: Path, load: Mapping[str, bytes], dump: Sequence[str], watch: Sequence[Watch] = ()
    ) -> RunResult:
        return run(program, self.emulated, load=load, dump=dump, watch=watch).check()
