"""What the simulated cluster looks like. docs/cluster.md explains every part."""

from __future__ import annotations

from dataclasses import dataclass

from odl.errors import InputError
from odl.targets.common.session import SimulatedMachine


def _is_power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InputError(f"cluster description: {message}")


@dataclass(frozen=True)
class InstructionCache:
    """Two levels with lines of 16 bytes, 4-way: one cache per core, one shared by all, refilled from L2."""

    private_bytes: int = 512
    shared_bytes: int = 4096
    shared_latency: int = 3
    """Cycles that a fetch takes longer when it misses the core's own cache and hits the shared one."""

    def __post_init__(self) -> None:
        for name, size, least in (("private", self.private_bytes, 64), ("shared", self.shared_bytes, 256)):
            fits = _is_power_of_two(size) and size >= least
            _require(fits, f"{name} instruction cache of {size} bytes; use a power of two from {least}")
        _require(
            1 <= self.shared_latency <= 100,
            f"shared instruction cache latency {self.shared_latency}; use 1 to 100",
        )


@dataclass(frozen=True)
class Cluster(SimulatedMachine):
    """A cluster of CV32E40P cores with packed FP16, sharing banked L1 memory. The defaults are a GAP9-class cluster."""

    cores: int = 8
    """Workers, 1 to 16."""
    controller: bool = False
    """One more core, numbered after the workers, runs `main` and orchestrates; without it core 0 does."""
    fpu_latency: int = 1
    """Pipeline registers of an FPU, 0 to 2. At 2 the core no longer overlaps operations."""
    fpus: int | None = None
    """None: one FPU per core; else core i uses FPU i modulo this number."""
    l1_bytes: int = 128 * 1024
    l1_banks: int = 16
    """Word-interleaved, one access per bank and cycle."""
    l2_bytes: int = 1536 * 1024
    l2_latency: int = 15
    """Cycles from a core's access to its answer."""
    icache: InstructionCache | None = InstructionCache()
    """None: every fetch takes one cycle."""

    def __post_init__(self) -> None:
        _require(1 <= self.cores <= 16, f"{self.cores} cores; use 1 to 16")
        _require(0 <= self.fpu_latency <= 2, f"FPU latency {self.fpu_latency}; use 0, 1 or 2")
        _require(
            self.fpus is None or 1 <= self.fpus <= self.cores,
            f"{self.fpus} FPUs for {self.cores} cores; use 1 to {self.cores}",
        )
        _require(
            _is_power_of_two(self.l1_banks) and self.l1_banks <= 64,
            f"{self.l1_banks} L1 banks; use a power of two up to 64",
        )
        for name, size, most in (("L1", self.l1_bytes, 2), ("L2", self.l2_bytes, 64)):
            fits = size % 1024 == 0 and 1024 <= size <= most << 20
            _require(fits, f"{name} of {size} bytes; use a multiple of 1024 up to {most} MiB")
        _require(1 <= self.l2_latency <= 1000, f"L2 latency {self.l2_latency}; use 1 to 1000")

    def simulator_arguments(self) -> list[tuple[str, int]]:
        """The description as options of the simulator (all but the FPU latency, which is built in)."""
        cache = [("--icache-ideal", 1)]
        if self.icache is not None:
            cache = [
                ("--icache-private-bytes", self.icache.private_bytes),
                ("--icache-shared-bytes", self.icache.shared_bytes),
                ("--icache-shared-latency", self.icache.shared_latency),
            ]
        return [
            ("--cores", self.cores),
            ("--controller", int(self.controller)),
            ("--fpu-units", self.fpus or 0),
            ("--l1-bytes", self.l1_bytes),
            ("--l1-banks", self.l1_banks),
            ("--l2-bytes", self.l2_bytes),
            ("--l2-latency", self.l2_latency),
            *cache,
        ]
