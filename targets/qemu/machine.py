"""What the emulated machine looks like."""

from __future__ import annotations

from dataclasses import dataclass

from odl.errors import InputError, option

#: Instruction sets by what `--isa` calls them: clang's -march. The vector code needs registers of at least 128 bits.
ARCHITECTURES = {"zfh": "rv32imafc_zfh", "zvfh": "rv32imafc_zfh_zve32f_zvfh_zvl128b"}
MAX_HARTS = 16


@dataclass(frozen=True)
class Machine:
    """Harts of one instruction set on one memory."""

    isa: str = "zvfh"
    harts: int = 1
    vlen: int = 128
    """Bits of a vector register, of which the programs use 128; nothing without vectors."""
    counted: bool = False
    """Count instructions exactly: harts then take turns on one thread of this machine."""

    def __post_init__(self) -> None:
        if self.isa not in ARCHITECTURES:
            raise InputError(f"{option('isa', self.isa)}: must be one of {', '.join(ARCHITECTURES)}")
        if not 1 <= self.harts <= MAX_HARTS:
            raise InputError(f"{self.harts} harts; use 1 to {MAX_HARTS}")
        if self.vlen not in (128, 256, 512, 1024):
            raise InputError(f"{option('vlen', self.vlen)}: must be 128, 256, 512 or 1024")

    @property
    def vectors(self) -> bool:
        """Whether there is a vector unit."""
        return self.isa == "zvfh"

    def arguments(self, release: tuple[int, ...]) -> list[str]:
        """QEMU's options for this machine; names of extensions depend on its release."""
        cpu = ["rv32", *_extensions(release, self.vectors)]
        if self.vectors:
            cpu.append(f"vlen={self.vlen}")
        count = ["-icount", "shift=0"] if self.counted else []
        return ["-M", "virt", "-m", "256M", "-smp", str(self.harts), "-cpu", ",".join(cpu), *count]


def _extensions(release: tuple[int, ...], vectors: bool) -> list[str]:
    """QEMU 7 has fp16 vectors as soon as there are vectors and Zfh; later releases have a switch for them."""
    if release < (8,):
        return ["Zfh=true", *(["v=true", "vext_spec=v1.0"] if vectors else [])]
    return ["zfh=true", *(["v=true", "zvfh=true"] if vectors else [])]
