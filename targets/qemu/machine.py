"""What the emulated machine looks like."""

from __future__ import annotations

from dataclasses import dataclass

from odl.errors import InputError, option
from odl.targets.common.session import SimulatedMachine
from odl.targets.target import InstructionSet

MAX_HARTS = 16


def _flags(architecture: str) -> tuple[str, ...]:
    return "--target=riscv32-unknown-elf", f"-march={architecture}", "-mabi=ilp32f"


#: The default first. The vector code needs registers of at least 128 bits, and uses no more of them.
INSTRUCTION_SETS = (
    InstructionSet(
        "zvfh",
        "fp16 vectors (Zvfh)",
        lanes_f16=8,
        lanes_f32=4,
        dialect="ODL_ISA_RVV",
        flags=_flags("rv32imafc_zfh_zve32f_zvfh_zvl128b"),
        extensions=("zfh", "v", "zvfh"),
        vector_bits=(128, 256, 512, 1024),
    ),
    InstructionSet(
        "zfh",
        "scalar fp16 (Zfh)",
        lanes_f16=2,
        dialect="ODL_ISA_ZFH",
        flags=_flags("rv32imafc_zfh"),
        extensions=("zfh",),
    ),
    InstructionSet(
        "zfh_zbb",
        "scalar fp16 with bit manipulation (Zfh, Zbb)",
        lanes_f16=2,
        dialect="ODL_ISA_ZFH",
        flags=_flags("rv32imafc_zbb_zfh"),
        extensions=("zfh", "zbb"),
    ),
)
_BY_NAME = {item.name: item for item in INSTRUCTION_SETS}


@dataclass(frozen=True)
class Machine(SimulatedMachine):
    """Harts of one instruction set on one memory."""

    isa: str = "zvfh"
    harts: int = 1
    vlen: int = 128
    """Bits of a vector register, of which the programs use 128; nothing without vectors."""
    counted: bool = False
    """Count instructions exactly: harts then take turns on one thread of this machine."""

    def __post_init__(self) -> None:
        if self.isa not in _BY_NAME:
            raise InputError(f"{option('isa', self.isa)}: must be one of {', '.join(map(str, _BY_NAME))}")
        if not 1 <= self.harts <= MAX_HARTS:
            raise InputError(f"{self.harts} harts; use 1 to {MAX_HARTS}")
        lengths = INSTRUCTION_SETS[0].vector_bits
        if self.vlen not in lengths:
            raise InputError(
                f"{option('vlen', self.vlen)}: must be {', '.join(map(str, lengths[:-1]))} or {lengths[-1]}"
            )

    @property
    def vectors(self) -> bool:
        """Whether there is a vector unit."""
        return bool(_BY_NAME[self.isa].vector_bits)

    def arguments(self, release: tuple[int, ...]) -> list[str]:
        """QEMU's options for this machine; names of extensions depend on its release."""
        extensions = _BY_NAME[self.isa].extensions
        cpu = ["rv32", *(switch for item in extensions for switch in _switches(release, item))]
        if self.vectors:
            cpu.append(f"vlen={self.vlen}")
        count = ["-icount", "shift=0"] if self.counted else []
        return ["-M", "virt", "-m", "256M", "-smp", str(self.harts), "-cpu", ",".join(cpu), *count]


#: What QEMU 7 calls extensions; it has fp16 vectors as soon as there are vectors and Zfh.
_IN_RELEASE_7 = {"zfh": ("Zfh=true",), "v": ("v=true", "vext_spec=v1.0"), "zvfh": ()}


def _switches(release: tuple[int, ...], extension: str) -> tuple[str, ...]:
    """QEMU's switches for an extension; later releases have one for each."""
    later = (f"{extension}=true",)
    return _IN_RELEASE_7.get(extension, later) if release < (8,) else later
