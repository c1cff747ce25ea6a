"""What the targets with a PULP-like cluster have in common: memories, compiler options, runtime, linker script."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from odl.errors import InputError
from odl.targets.target import EXCHANGE, DeviceTarget, Memory, c_files

_HERE = Path(__file__).parent
RUNTIME = _HERE / "runtime"
_CODE_OPTIONS = (
    "-ffreestanding",
    "-nostdlib",
    "-fno-common",
    "-ffunction-sections",
    "-fdata-sections",
    "-mno-relax",
)
#: Bytes of each core's stack, in L1.
STACK_BYTES = 1024
#: L1 beside stacks and tensors: the shapes of the kernel calls, and the runtime's own variables.
_L1_RESERVE = 8 * 1024
#: L2 beside tensors: code, constants, and what the caller hands in.
_L2_RESERVE = 192 * 1024


def cluster_memories(l1_bytes: int, l2_bytes: int) -> tuple[Memory, ...]:
    """L1 and L2 of a cluster, as its runtime uses them."""
    return (
        Memory("l1", l1_bytes, _L1_RESERVE, STACK_BYTES, origin=0x10000000),
        Memory("l2", l2_bytes, _L2_RESERVE, origin=0x1C000000),
    )


@dataclass(frozen=True)
class MemoryLayout:
    """What the linker script must know of the machine. Sizes in bytes."""

    cores: int = 8
    """Workers: those that run the programs of `odl_parallel`."""
    controller: bool = False
    """One more core runs `main`; without it core 0 does."""
    l1_bytes: int = 128 * 1024
    l2_bytes: int = 1536 * 1024
    stack_bytes: int = STACK_BYTES
    """Per core, in L1."""

    def linker_script(self) -> str:
        """The script that places code and data. Raises InputError where the stacks alone do not fit."""
        from jinja2 import (  # here: targets are imported to list them
            Environment,
            FileSystemLoader,
            StrictUndefined,
        )

        if self.stack_bytes % 16 or self.stack_bytes < 256:
            raise InputError(f"stacks of {self.stack_bytes} bytes; use a multiple of 16 from 256")
        stacks = self.cores + self.controller
        if stacks * self.stack_bytes > self.l1_bytes:
            raise InputError(
                f"{stacks} stacks of {self.stack_bytes} bytes do not fit an L1 of {self.l1_bytes} bytes"
            )
        environment = Environment(
            loader=FileSystemLoader(_HERE), undefined=StrictUndefined, keep_trailing_newline=True
        )
        return environment.get_template("link.ld.j2").render(
            cores=self.cores,
            stacks=stacks,
            controller=int(self.controller),
            l1_bytes=self.l1_bytes,
            l2_bytes=self.l2_bytes,
            stack_bytes=self.stack_bytes,
        )


@dataclass(frozen=True)
class ClusterTarget(DeviceTarget):
    """A target whose programs run on a PULP-like cluster."""

    stack_bytes: int | None = STACK_BYTES
    exchanges: bool = False
    """Whether data goes in and out by files, for want of a simulator that reaches its memories."""
    has_controller: bool = False
    """Whether one more core may run `main`."""

    def layout(self, cores: int) -> MemoryLayout:
        """The memories as a project's linker sees them."""
        l1, l2 = (memory.bytes for memory in self.memories)
        assert l1 is not None and l2 is not None
        return MemoryLayout(cores, False, l1, l2)

    def options_for(self, layout: MemoryLayout) -> list[str]:
        """clang's options for any layout; complete, so that a Makefile can carry them.

        Raises InputError for a controller on a target that has none.
        """
        if layout.controller and not self.has_controller:
            raise InputError(f"target {self.name} has no controller core; its core 0 orchestrates")
        return [
            *self.instruction_set.flags,
            *_CODE_OPTIONS,
            f"-DODL_TARGET_{self.name.upper()}",
            f"-DODL_CORES={layout.cores}",
            f"-DODL_CONTROLLER={int(layout.controller)}",
        ]

    @override
    def compile_options(self, cores: int) -> list[str]:
        return self.options_for(self.layout(cores))

    @override
    def runtime_files(self) -> list[Path]:
        folders = [RUNTIME, *([EXCHANGE] if self.exchanges else [])]
        return [path for folder in folders for path in c_files(folder)]

    @override
    def linker_script(self, cores: int) -> str:
        return self.layout(cores).linker_script()
