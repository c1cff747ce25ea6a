# Start of every hart. QEMU's `virt` machine enters here, at the start of its RAM, which it has cleared.

    .section .text.start, "ax"
    .globl _start
    .type _start, @function
_start:
    la t0, odl_trap_entry
    csrw mtvec, t0
    li t0, 0x6600           # mstatus: floating-point and vector unit on
    csrs mstatus, t0
    csrr a0, mhartid
    li t0, ODL_CORES
    bgeu a0, t0, park
    # Stack of hart i: downwards from __stacks + (i + 1) * __stack_bytes
    la sp, __stacks
    lui t0, %hi(__stack_bytes)
    addi t0, t0, %lo(__stack_bytes)
    addi t1, a0, 1
    mul t1, t1, t0
    add sp, sp, t1
    call odl_run_core
park:
    wfi
    j park
    .size _start, . - _start

# Exceptions, and nothing else, come here: interrupts stay disabled. The hart's stack may be what is broken.
    .balign 4
    .globl odl_trap_entry
    .type odl_trap_entry, @function
odl_trap_entry:
    la sp, __trap_stack_top
    csrr a0, mhartid
    csrr a1, mcause
    csrr a2, mepc
    csrr a3, mtval
    call odl_trap
    .size odl_trap_entry, . - odl_trap_entry
