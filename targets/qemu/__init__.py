"""Standard RISC-V on QEMU: `qemu-system-riscv32 -M virt` without firmware, fp16 by Zfh or by the vector unit (Zvfh).

QEMU counts instructions, never cycles. `machine` says what it looks like, `target` how programs are compiled for it,
`emulation` runs one.
"""
