"""Finds QEMU."""

from __future__ import annotations

from odl.errors import MissingToolError
from odl.targets.common.requirements import Finding, Requirement, check, complaint, tool_version
from odl.targets.common.toolchain import check_toolchain

PROGRAM = "qemu-system-riscv32"
PURPOSE = "target qemu"
#: The first release that was tested; fp16 vectors came shortly before.
REQUIREMENT = Requirement(PURPOSE, PROGRAM, (7, 2), "apt-get install qemu-system-misc")


def find_qemu() -> tuple[int, ...]:
    """Release of the QEMU on PATH. MissingToolError where there is none, or an old one."""
    finding = check(REQUIREMENT)
    if not finding.ok:
        raise MissingToolError(complaint(finding))
    return tool_version(PROGRAM) or ()


def check_tools() -> list[Finding]:
    """What is here of all that target qemu needs, for `odl doctor`."""
    return [check(REQUIREMENT), *check_toolchain(PURPOSE)]
