# Loops whose cycles are known by counting.

# COUNT loads of one word, nothing else.
.macro load_function name, count
    .text
    .globl \name
    .type \name, @function
    .balign 16
\name:
    .option push
    .option norvc
    .rept \count
    lw t0, 0(a0)
    .endr
    .option pop
    ret
    .size \name, . - \name
.endm

    load_function loads_64, 64
    load_function loads_128, 128

# COUNT instructions of four bytes, a1 times over.
.macro straight_function name, count
    .text
    .globl \name
    .type \name, @function
    .balign 16
\name:
    .option push
    .option norvc
    .rept \count
    addi t0, t0, 1
    .endr
    addi a0, a0, -1
    bnez a0, \name
    ret
    .option pop
    .size \name, . - \name
.endm

    straight_function straight_64, 64
    straight_function straight_256, 256
    straight_function straight_2048, 2048

#define vfmac_h(sum, x, y) .insn r 0x33, 2, 0x48, sum, x, y

# void macs(const uint32_t *x, const uint32_t *y, uint32_t n): per iteration six loads and eight vfmac.h, no stall.
    .globl macs
    .type macs, @function
    .balign 16
macs:
    addi sp, sp, -32
    sw s0, 0(sp)
    sw s1, 4(sp)
    sw s2, 8(sp)
    sw s3, 12(sp)
    sw s4, 16(sp)
    sw s5, 20(sp)
    sw s6, 24(sp)
    sw s7, 28(sp)
    addi a3, a0, 128
    addi a4, a3, 128
    addi a5, a4, 128
    addi a6, a1, 128
    .option push
    .option norvc
    .balign 4
    .insn i 0x2b, 4, x14, a2, 15        # cv.setup 0: a2 iterations up to the instruction before `done`
    cv.lw t0, (a0), 0
    cv.lw t1, (a3), 0
    cv.lw t2, (a4), 0
    cv.lw t3, (a5), 0
    cv.lw t4, (a1), 0
    cv.lw t5, (a6), 0
    vfmac_h(s0, t0, t4)
    vfmac_h(s1, t1, t4)
    vfmac_h(s2, t2, t4)
    vfmac_h(s3, t3, t4)
    vfmac_h(s4, t0, t5)
    vfmac_h(s5, t1, t5)
    vfmac_h(s6, t2, t5)
    vfmac_h(s7, t3, t5)
    .option pop
    lw s0, 0(sp)
    lw s1, 4(sp)
    lw s2, 8(sp)
    lw s3, 12(sp)
    lw s4, 16(sp)
    lw s5, 20(sp)
    lw s6, 24(sp)
    lw s7, 28(sp)
    addi sp, sp, 32
    ret
    .size macs, . - macs

# void busy_loads(const uint32_t *base, uint32_t n): n times seven loads, five banks apart. (Seven, and five: a
# pattern that repeats every eight cycles can fall in step with the DMA engine, which goes round 16 banks in eight.)
    .globl busy_loads
    .type busy_loads, @function
    .balign 16
busy_loads:
    .option push
    .option norvc
    .balign 4
    .insn i 0x2b, 4, x14, a1, 8
    lw t0, 0(a0)
    lw t0, 20(a0)
    lw t0, 40(a0)
    lw t0, 60(a0)
    lw t0, 16(a0)
    lw t0, 36(a0)
    lw t0, 56(a0)
    .option pop
    ret
    .size busy_loads, . - busy_loads

# void divides(float a, float b, uint32_t n): n divisions, one after the other
    .globl divides
    .type divides, @function
    .balign 16
divides:
    .option push
    .option norvc
    .balign 4
    .insn i 0x2b, 4, x14, a2, 4
    fdiv.s t0, a0, a1
    nop
    nop
    .option pop
    ret
    .size divides, . - divides
