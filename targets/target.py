"""What a target is: everything that compiling, running and measuring ask of it, in one value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from odl.targets.common.requirements import Finding
from odl.targets.common.session import Session, SimulatedMachine, Unit

_FOLDER = Path(__file__).parent
#: Stands in for a C library; the headers are found before the compiler's.
FREESTANDING = _FOLDER / "freestanding"
#: The runtime's end of the exchange of data by files (common/exchange.py).
EXCHANGE = _FOLDER / "common" / "runtime"


@dataclass(frozen=True)
class InstructionSet:
    """One of the instruction sets of a target."""

    name: str | None
    """What --isa calls it; None where the target has no other."""
    title: str
    lanes_f16: int
    """fp16 elements in a SIMD register: what the exact host build imitates."""
    lanes_f32: int = 1
    """The same for fp32."""
    dialect: str | None = None
    """The macro that picks the kernels' dialect; None for the host, whose builds pick one each."""
    flags: tuple[str, ...] = ()
    """clang's choice of the architecture."""
    extensions: tuple[str, ...] = ()
    """Extensions of the architecture that the simulator must be told of."""
    vector_bits: tuple[int, ...] = ()
    """Lengths of a vector register that a machine may have, the default first; empty without vectors."""


@dataclass(frozen=True)
class Memory:
    """A memory of a target: its size, None where nothing limits it, and the bytes of it that tensors cannot have."""

    name: str
    bytes: int | None = None
    reserved: int = 0
    reserved_per_core: int = 0
    origin: int = 0
    """Its first address, where the simulator tells which words were touched."""

    def for_tensors(self, cores: int) -> int | None:
        """Bytes that are left for tensors."""
        return None if self.bytes is None else self.bytes - cores * self.reserved_per_core - self.reserved


@dataclass(frozen=True)
class Target(ABC):
    """A target. Where there are two memories, the first is the one beside the cores; the last holds the arena."""

    name: str
    title: str
    """What a project's Makefile calls it."""
    simulator: str
    """What a message calls it that runs the programs."""
    memories: tuple[Memory, ...]
    instruction_sets: tuple[InstructionSet, ...]
    """The default first."""
    unit: Unit
    """What it counts."""
    cores: int = 1
    """Cores that share the work unless --cores says otherwise."""
    most_cores: int = 16
    """What --cores may be at most."""
    machine_options: tuple[str, ...] = ()
    """What may be chosen of the simulated machine that programs do not depend on."""
    machine_type: type[SimulatedMachine] | None = None
    """What describes such a machine; None where there is nothing to choose."""
    stack_bytes: int | None = None
    """What the runtime gives each core for its stack; None where the caller's stack is used."""
    traces: bool = False
    """Whether its simulator writes traces of signals."""
    tuned: bool = False
    """Whether variants of kernels are measured on it, and chosen for it."""

    # ---------------------------------------------------------------------------- memories and instruction sets
    def with_isa(self, name: str | None) -> Self:
        """This target with one of its instruction sets, by default the first. KeyError for a name it has not."""
        found = {isa.name: isa for isa in self.instruction_sets}
        return replace(self, instruction_sets=(found[name or self.instruction_sets[0].name],))

    @property
    def isas(self) -> tuple[str, ...]:
        """What --isa may choose between, the default first; empty where there is no choice."""
        return tuple(isa.name for isa in self.instruction_sets if isa.name is not None)

    @property
    def instruction_set(self) -> InstructionSet:
        """The instruction set that was chosen, else the default."""
        return self.instruction_sets[0]

    @property
    def clustered(self) -> bool:
        """Whether tensors move between two memories."""
        return len(self.memories) == 2

    @property
    def arena(self) -> Memory:
        """The memory that holds the arena."""
        return self.memories[-1]

    @property
    def local(self) -> Memory | None:
        """The memory beside the cores, where there is one."""
        return self.memories[0] if self.clustered else None

    @property
    def is_host(self) -> bool:
        """Whether it is the machine that compiles."""
        return not isinstance(self, DeviceTarget)

    @abstractmethod
    def findings(self) -> list[Finding]:
        """What is here of all the tools that it needs, for `odl doctor`."""

    def machine(self, cores: int, *, counted: bool = False, **choices: Any) -> SimulatedMachine | None:
        """A machine with what was chosen of `machine_options`, None where nothing describes it; `counted`: for measuring.

        InputError for a machine that cannot be.
        """
        return None

    def describe(self, cores: int, machine: SimulatedMachine | None) -> str:
        """What a measurement ran on, in one line."""
        return self.title


@dataclass(frozen=True)
class DeviceTarget(Target):
    """A target that clang compiles for, and that a simulator runs."""

    @abstractmethod
    def compile_options(self, cores: int) -> list[str]:
        """clang's options for a file of this target, beside optimisation and warnings."""

    def link_options(self) -> list[str]:
        """lld's options beside the linker script."""
        return ["--gc-sections", "--no-relax"]

    @abstractmethod
    def runtime_files(self) -> list[Path]:
        """Headers and sources of the runtime, without what stands in for a C library."""

    @abstractmethod
    def linker_script(self, cores: int) -> str:
        """The script that places code and data."""

    @abstractmethod
    def session(self, cores: int, machine: SimulatedMachine | None = None) -> Session:
        """Runs programs for that many cores, on the given machine or the default one.

        MissingToolError without the simulator.
        """


def c_files(folder: Path) -> list[Path]:
    """C and assembly files of a folder, in the order of their names."""
    return [path for path in sorted(folder.iterdir()) if path.suffix in (".h", ".c", ".S")]


def plural(count: int, what: str) -> str:
    """1 core, 2 cores."""
    return f"{count} {what}{'' if count == 1 else 's'}"
