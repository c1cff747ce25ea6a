"""Finds QEMU and runs a program on it: data in, data out, and the instructions of all harts at every mark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from odl.targets.common.exchange import DEFAULT_SECONDS, execute, run_exchanging
from odl.targets.common.requirements import Finding, Requirement, tool_version
from odl.targets.common.session import RunResult, Watch
from odl.targets.common.toolchain import check_toolchain
from odl.targets.qemu.machine import Machine

PROGRAM = "qemu-system-riscv32"
#: The first release that was tested; fp16 vectors came shortly before.
REQUIREMENT = Requirement("target qemu", PROGRAM, (7, 2), "apt-get install qemu-system-misc")
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


def find_qemu() -> tuple[int, ...]:
    """Release of the QEMU on PATH. MissingToolError where there is none, or an old one."""
    REQUIREMENT.check().require()
    return tool_version(PROGRAM) or ()


def check_tools() -> list[Finding]:
    """What is here of all that target qemu needs, for `odl doctor`."""
    return [REQUIREMENT.check(), *check_toolchain(REQUIREMENT.purpose)]
