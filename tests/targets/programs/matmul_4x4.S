# C = A · Bᵀ in packed fp16, a tile of 4 × 4 results at a time: 16 accumulators, each of two partial sums (even and
# odd k), stay in registers.
#
# void matmul_4x4(const half *a, const half *b, uint32_t k_pairs, half *c, uint32_t a_stride, uint32_t c_stride)
#   a: four rows, a_stride bytes apart
#   b: four rows interleaved by words (b0[0..1] b1[0..1] b2[0..1] b3[0..1] b0[2..3] …), so that one pointer walks it
#   c: four rows of four results, c_stride bytes apart

#define A0 t6
#define A1 a7
#define A2 gp
#define A3 tp
#define B_EVEN ra
#define B_ODD a4
#define ROW0 a0
#define ROW1 t3
#define ROW2 t4
#define ROW3 t5
#define B a1
#define C a3
#define C_STRIDE a5

#define vfmac_h(sum, x, y) .insn r 0x33, 2, 0x48, sum, x, y
#define vfadd_h(d, x, y) .insn r 0x33, 2, 0x41, d, x, y

# One column of the tile: four rows of A times one word of B
.macro column s0, s1, s2, s3, b
    vfmac_h(\s0, A0, \b)
    vfmac_h(\s1, A1, \b)
    vfmac_h(\s2, A2, \b)
    vfmac_h(\s3, A3, \b)
.endm

# Two accumulators to two results: even and odd partial sums are added
.macro store_pair left, right, offset
    cv.pack a4, \right, \left
    cv.pack.h a2, \right, \left
    vfadd_h(a4, a4, a2)
    sw a4, \offset(C)
.endm

.macro store_row c0, c1, c2, c3
    store_pair \c0, \c1, 0
    store_pair \c2, \c3, 4
    add C, C, C_STRIDE
.endm

#define ALL_SAVED \
    each s0, 0; each s1, 4; each s2, 8; each s3, 12; each s4, 16; each s5, 20; each s6, 24; each s7, 28; \
    each s8, 32; each s9, 36; each s10, 40; each s11, 44; each gp, 48; each tp, 52; each ra, 56

    .text
    .globl matmul_4x4
    .type matmul_4x4, @function
    .balign 16
matmul_4x4:
    addi sp, sp, -64
.macro each register, offset
    sw \register, \offset(sp)
.endm
    ALL_SAVED
.purgem each
    add ROW1, ROW0, a4
    add ROW2, ROW1, a4
    add ROW3, ROW2, a4
.irp sum, s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, t0, t1, t2, a6
    li \sum, 0
.endr
    .option push
    .option norvc
    .balign 4
    .insn i 0x2b, 4, x14, a2, 25        # cv.setup 0: a2 iterations of the 24 instructions that follow
    cv.lw A0, (ROW0), 4
    cv.lw A1, (ROW1), 4
    cv.lw A2, (ROW2), 4
    cv.lw A3, (ROW3), 4
    cv.lw B_EVEN, (B), 4
    cv.lw B_ODD, (B), 4
    column s0, s1, s2, s3, B_EVEN
    cv.lw B_EVEN, (B), 4
    column s4, s5, s6, s7, B_ODD
    cv.lw B_ODD, (B), 4
    column s8, s9, s10, s11, B_EVEN
    column t0, t1, t2, a6, B_ODD
    .option pop
    store_row s0, s4, s8, t0
    store_row s1, s5, s9, t1
    store_row s2, s6, s10, t2
    store_row s3, s7, s11, a6
.macro each register, offset
    lw \register, \offset(sp)
.endm
    ALL_SAVED
    addi sp, sp, 64
    ret
    .size matmul_4x4, . - matmul_4x4
