"""How programs for the emulated machine are compiled and linked; a project's Makefile carries these options."""

from __future__ import annotations

from pathlib import Path

from odl.targets.qemu.machine import ARCHITECTURES

RUNTIME = Path(__file__).parent / "runtime"
#: The macro that picks the kernels' dialect.
DIALECTS = {"zfh": "ODL_ISA_ZFH", "zvfh": "ODL_ISA_RVV"}


def compile_options(isa: str, harts: int) -> list[str]:
    """clang's options for a file of this target, beside optimisation and warnings."""
    return [
        "--target=riscv32-unknown-elf",
        f"-march={ARCHITECTURES[isa]}",
        "-mabi=ilp32f",
        "-ffreestanding -nostdlib -fno-common -ffunction-sections -fdata-sections -mno-relax",
        # Flags tell whether a step overflowed, so no operation may be invented, as a vectorising compiler likes to do.
        "-ffp-exception-behavior=maytrap",
        f"-DODL_CORES={harts}",
    ]


def link_options() -> list[str]:
    """lld's options beside the linker script."""
    return ["--gc-sections", "--no-relax"]
