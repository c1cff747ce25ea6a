/* Text of instructions for blocks of assembly, as far as all cores with packed fp16 share them. Operands are
 * strings: "%[name]" of an operand of the block, or a register. What differs between cores has the same names
 * in xcv.h and xpulp.h:
 *
 * - ODL_ASM_REPEAT(level, count, words): hardware loop 0 (inner) or 1 over the next `words` instructions, at
 *   least three; level 1 ends at least two instructions after level 0. The loop's instructions must lie
 *   between ODL_ASM_BEGIN and ODL_ASM_END; the count, a register, is at least 1.
 *
 * - ODL_ASM_LW(rd, p, step): load the word at p, then p += step, a constant number of bytes.
 *
 * - ODL_ASM_LHU(rd, p, step): the same with a half, into the low half; the high one is 0.
 *
 * - ODL_ASM_LW_BY(rd, p, step), ODL_ASM_LHU_BY(rd, p, step): the same; the step is in a register.
 *
 * - ODL_ASM_FOLD_2(rd, t, u, a, b): low half of rd = a.low + a.high, high half = b.low + b.high; t, u and, on
 *   some cores, a and b are lost; rd may be any of them.
 *
 * The compiler allocates neither gp nor tp: the program is linked without relaxation and has no thread-local
 * storage. They are the two registers that every block may use without saying so: ODL_ASM_SPARE_0 and _1.
 */
#ifndef ODL_PACKED_ASM_H
#define ODL_PACKED_ASM_H

#define ODL_ASM_SPARE_0 "gp"
#define ODL_ASM_SPARE_1 "tp"

/* Hardware loops want words: aligned, not compressed. */
#define ODL_ASM_BEGIN ".option push\n.balign 4\n.option norvc\n"
#define ODL_ASM_END ".option pop\n"

/* Operands by the name of their variable: read and changed, only written, only read; the same in memory. */
#define ODL_ASM_RW(v) [v] "+r"(v)
#define ODL_ASM_W(v) [v] "=&r"(v)
#define ODL_ASM_R(v) [v] "r"(v)
#define ODL_ASM_RW_MEMORY(v) [v] "+m"(v)
#define ODL_ASM_R_MEMORY(v) [v] "m"(v)

#define ODL_ASM_SW(rs, p, offset) "sw " rs ", " #offset "(" p ")\n"
#define ODL_ASM_ADD(rd, a, b) "add " rd ", " a ", " b "\n"
#define ODL_ASM_CLEAR(rd) "li " rd ", 0\n"
/* A variable in memory: an operand with the constraint "m". */
#define ODL_ASM_LW_MEMORY(rd, memory) "lw " rd ", " memory "\n"
/* Back to label 1 until the variable, an operand "+m", has become 0. */
#define ODL_ASM_UNTIL_ZERO(memory, t)                                                                        \
    "lw " t ", " memory "\n"                                                                                 \
    "addi " t ", " t ", -1\n"                                                                                \
    "sw " t ", " memory "\n"                                                                                 \
    "bnez " t ", 1b\n"

/* Encodings: packed_fp16.h */
#define ODL_ASM_PACKED(funct3, funct7, rd, a, b)                                                             \
    ".insn r 0x33, " #funct3 ", " #funct7 ", " rd ", " a ", " b "\n"
#define ODL_ASM_VFADD_H(rd, a, b) ODL_ASM_PACKED(2, 0x41, rd, a, b)
#define ODL_ASM_VFSUB_H(rd, a, b) ODL_ASM_PACKED(2, 0x42, rd, a, b)
#define ODL_ASM_VFMUL_H(rd, a, b) ODL_ASM_PACKED(2, 0x43, rd, a, b)
#define ODL_ASM_NARROW(rd, low, high) ODL_ASM_PACKED(2, 0x58, rd, low, high) /* vfcpka.h.s */
#define ODL_ASM_VFMAC_H(sum, a, b) ODL_ASM_PACKED(2, 0x48, sum, a, b)
#define ODL_ASM_VFMAC_R_H(sum, a, b) ODL_ASM_PACKED(6, 0x48, sum, a, b)

/* fmacex.s.h: the float sum += a.low * b.low, one rounding. With b = 1 it adds a half to a float. */
#define ODL_ASM_FMACEX_S_H(sum, a, b) ".insn r 0x53, 0, 0x2a, " sum ", " a ", " b "\n"

/* One step of a dot product, and of an outer product of a vector by the scalar in the low part of b. */
#define ODL_ASM_DOT_f16(sum, a, b) ODL_ASM_VFMAC_H(sum, a, b)
#define ODL_ASM_OUTER_f16(sum, a, b) ODL_ASM_VFMAC_R_H(sum, a, b)
#define ODL_ASM_DOT_f32(sum, a, b) "fmadd.s " sum ", " a ", " b ", " sum "\n"
#define ODL_ASM_OUTER_f32(sum, a, b) ODL_ASM_DOT_f32(sum, a, b)

/* Load of one element. */
#define ODL_ASM_ONE_f16(rd, p, step) ODL_ASM_LHU(rd, p, step)
#define ODL_ASM_ONE_f32(rd, p, step) ODL_ASM_LW(rd, p, step)
#define ODL_ASM_ONE_BY_f16(rd, p, step) ODL_ASM_LHU_BY(rd, p, step)
#define ODL_ASM_ONE_BY_f32(rd, p, step) ODL_ASM_LW_BY(rd, p, step)

/* Add accumulators to floats in memory, an operand with the constraint "m". `one` holds ODL_ASM_ONE; a and t
 * are lost. LANES: the floats at offset and behind it += the two lanes of a. SUMS: the same floats += the
 * folded lanes of a, and of b. */
#define ODL_ASM_LOAD_ONE(rd) "lui " rd ", 4\naddi " rd ", " rd ", -1024\n" /* 0x3c00, 1 in fp16 */
#define ODL_ASM_SET_LANES(a, sum, offset, one)                                                               \
    "fcvt.s.h gp, " a "\n"                                                                                   \
    "srli " a ", " a ", 16\n"                                                                                \
    "fcvt.s.h tp, " a "\n"                                                                                   \
    "sw gp, " #offset " + " sum "\n"                                                                         \
    "sw tp, " #offset " + 4 + " sum "\n"
#define ODL_ASM_ADD_LANES(a, sum, offset, one)                                                               \
    "lw gp, " #offset " + " sum "\n"                                                                         \
    "lw tp, " #offset " + 4 + " sum                                                                          \
    "\n" ODL_ASM_FMACEX_S_H("gp", a, one) "srli " a ", " a                                                   \
                                          ", 16\n" ODL_ASM_FMACEX_S_H("tp", a, one) "sw gp, " #offset        \
                                                                                    " + " sum "\n"           \
                                                                                    "sw tp, " #offset        \
                                                                                    " + 4 + " sum "\n"
#define ODL_ASM_FINISH_LANES(a, sum, offset, one)                                                            \
    "lw gp, " #offset " + " sum "\n"                                                                         \
    "lw tp, " #offset " + 4 + " sum                                                                          \
    "\n" ODL_ASM_FMACEX_S_H("gp", a, one) "srli " a ", " a ", 16\n" ODL_ASM_FMACEX_S_H("tp", a, one)         \
        ODL_ASM_NARROW(a, "gp", "tp")
#define ODL_ASM_CARRY_SUMS(a, b, sum, offset, one, t)                                                        \
    "lw " t ", " #offset " + " sum                                                                           \
    "\n" ODL_ASM_FOLD_2("gp", "gp", "tp", a, b) "lw tp, " #offset " + 4 + " sum "\n" ODL_ASM_FMACEX_S_H(     \
        t, "gp", one) "srli gp, gp, 16\n" ODL_ASM_FMACEX_S_H("tp", "gp", one) "sw " t ", " #offset " + " sum \
                                                                              "\n"                           \
                                                                              "sw tp, " #offset              \
                                                                              " + 4 + " sum "\n"
/* The same for one accumulator. */
#define ODL_ASM_CARRY_SUM(a, sum, offset, one, t)                                                            \
    "lw " t ", " #offset " + " sum "\n"                                                                      \
    "srli gp, " a ", 16\n" ODL_ASM_VFADD_H("gp", a, "gp")                                                    \
        ODL_ASM_FMACEX_S_H(t, "gp", one) "sw " t ", " #offset " + " sum "\n"

#endif
