"""What a compilation must know of each target: its memories, its cores and the width of its SIMD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

#: Bytes of each core's stack on a cluster, in L1.
STACK_BYTES = 1024
#: L1 beside stacks and tensors: the shapes of the kernel calls, and the runtime's own variables.
_L1_RESERVE = 8 * 1024
#: L2 beside tensors: code, constants, and what the caller hands in.
_L2_RESERVE = 192 * 1024


@dataclass(frozen=True)
class InstructionSet:
    """One of several that a target may have: what --isa calls it, and elements in a SIMD register."""

    name: str
    lanes_f16: int
    lanes_f32: int


@dataclass(frozen=True)
class TargetDescription:
    """A target. `l1_bytes` is the memory beside the cores, None where all memory is one; `l2_bytes` the one behind it."""

    name: str
    cores: int
    """Cores that share the work unless --cores says otherwise."""
    lanes_f16: int
    """fp16 elements in a SIMD register: what the exact host build imitates."""
    lanes_f32: int = 1
    """The same for fp32."""
    l1_bytes: int | None = None
    l2_bytes: int | None = None
    most_cores: int = 16
    """What --cores may be at most."""
    isas: tuple[InstructionSet, ...] = ()
    """What --isa may choose between, the default first."""

    def with_isa(self, name: str | None) -> TargetDescription:
        """This target with one of its instruction sets, by default the first. KeyError for a name it has not."""
        if name is None and not self.isas:
            return self
        found = {isa.name: isa for isa in self.isas}[name or self.isas[0].name]
        return replace(self, isas=(found,), lanes_f16=found.lanes_f16, lanes_f32=found.lanes_f32)

    @property
    def isa(self) -> str | None:
        """The instruction set's name, where there is a choice."""
        return self.isas[0].name if self.isas else None

    @property
    def is_host(self) -> bool:
        """Whether the target is the machine that compiles."""
        return self.name == "host"

    @property
    def clustered(self) -> bool:
        """Whether tensors move between two memories."""
        return self.l1_bytes is not None

    @property
    def memory(self) -> str:
        """Name of the memory that holds the arena."""
        return "l2" if self.clustered else "ram"

    def tensor_l1(self, cores: int) -> int | None:
        """Bytes of L1 that are left for tensors."""
        if self.l1_bytes is None:
            return None
        return self.l1_bytes - cores * STACK_BYTES - _L1_RESERVE

    @property
    def tensor_l2(self) -> int | None:
        """Bytes of L2 that are left for tensors."""
        return None if self.l2_bytes is None else self.l2_bytes - _L2_RESERVE


TARGETS: Mapping[str, TargetDescription] = {
    target.name: target
    for target in (
        TargetDescription("host", cores=1, lanes_f16=2),
        TargetDescription("cv32e40p", cores=8, lanes_f16=2, l1_bytes=128 * 1024, l2_bytes=1536 * 1024),
        TargetDescription(
            "gvsoc", cores=8, lanes_f16=2, l1_bytes=64 * 1024, l2_bytes=1536 * 1024, most_cores=8
        ),
        TargetDescription(
            "qemu",
            cores=1,
            lanes_f16=8,
            lanes_f32=4,
            # Standard RISC-V: fp16 vectors of (at least) 128 bits, or scalar fp16 arithmetic in pairs.
            isas=(InstructionSet("zvfh", 8, 4), InstructionSet("zfh", 2, 1)),
        ),
    )
}
