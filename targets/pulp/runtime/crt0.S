# Start of every core. On GVSoC the fabric controller comes here first and starts the cluster; in the cv32e40p
# simulator the cluster's cores start here by themselves.

#define FABRIC_CONTROLLER 0x3e0

    .section .text.start, "ax"
    .globl _start
    .type _start, @function
_start:
    la t0, odl_trap_entry
    csrw mtvec, t0
    csrr a0, mhartid
    li t0, FABRIC_CONTROLLER
    beq a0, t0, start_cluster
    andi a0, a0, 0x1f
    li t0, ODL_CORES + ODL_CONTROLLER
    bgeu a0, t0, park
    # Stack of core i: from __stacks + i * __stack_bytes upwards. sp itself never holds another core's: the
    # simulator watches it.
    la t2, __stacks
    lui t0, %hi(__stack_bytes)
    addi t0, t0, %lo(__stack_bytes)
    addi t1, a0, 1
    mul t1, t1, t0
    add sp, t2, t1
    call odl_run_core

start_cluster:
    la sp, __trap_stack_top
    call odl_start_cluster
park:
    wfi
    j park
    .size _start, . - _start

# Exceptions, and nothing else, come here. The stack of the core may be the very thing that is broken.
    .section .text.trap, "ax"
    .balign 256
    .globl odl_trap_entry
    .type odl_trap_entry, @function
odl_trap_entry:
    la sp, __trap_stack_top
    csrr a0, mhartid
    csrr a1, mcause
    csrr a2, mepc
    call odl_trap
    .size odl_trap_entry, . - odl_trap_entry
