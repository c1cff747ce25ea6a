"""Standard RISC-V on QEMU: `qemu-system-riscv32 -M virt` without firmware, fp16 by Zfh or by the vector unit (Zvfh).

QEMU counts instructions, never cycles. `machine` says what it looks like, `build` how programs are compiled for it, `run`
runs one.
"""

from odl.targets.qemu.machine import Machine
from odl.targets.qemu.run import Mark, RunResult, Watch, run

__all__ = ["Machine", "Mark", "RunResult", "Watch", "run"]
