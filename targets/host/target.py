"""The machine that compiles."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from odl.targets.common.requirements import Finding, Requirement
from odl.targets.common.session import Unit
from odl.targets.target import InstructionSet, Memory, Target

#: The oldest gcc that all tests ran with; projects also build with gcc 11.
TOOLS = (
    Requirement("target host", "gcc", (12,), "apt-get install gcc libc6-dev"),
    Requirement("target host", "make", (4,), "apt-get install make"),
)


@dataclass(frozen=True)
class Host(Target):
    """Networks run on it as libraries, whatever target they are for."""

    @override
    def findings(self) -> list[Finding]:
        return [tool.check() for tool in TOOLS]


TARGET = Host(
    name="host",
    title="this machine",
    simulator="this machine",
    memories=(Memory("ram"),),
    instruction_sets=(InstructionSet(None, "the host's own SIMD", lanes_f16=2),),
    unit=Unit.NOTHING,
)
