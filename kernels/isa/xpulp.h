/* Dialect ODL_ISA_XPULP: RI5CY and its successors, GVSoC's pulp-open (XpulpV2 with packed fp16). */
#ifndef ODL_XPULP_H
#define ODL_XPULP_H

#include "f16x2.h"
#include "f32x1.h"
#include "overflow.h"
#include "packed_asm.h"

/* lp.setup: the end is the last instruction of the body, counted in halves from this one. */
#define ODL_ASM_REPEAT(level, count, words) ".insn i 0x7b, 4, x" #level ", " count ", 2 * (" #words ")\n"

#define ODL_ASM_LW(rd, p, step) ".insn i 0x0b, 2, " rd ", " p ", " #step "\n"
#define ODL_ASM_LHU(rd, p, step) ".insn i 0x0b, 5, " rd ", " p ", " #step "\n"
#define ODL_ASM_LW_BY(rd, p, step) ".insn r 0x0b, 7, 0x10, " rd ", " p ", " step "\n"
#define ODL_ASM_LHU_BY(rd, p, step) ".insn r 0x0b, 7, 0x28, " rd ", " p ", " step "\n"
#define ODL_ASM_LIMIT_f16(rd, a, floor) ".insn r 0x57, 0, 0x18, " rd ", " a ", " floor "\n"
#define ODL_ASM_FOLD_2(rd, t, u, a, b)                                                                       \
    ".insn r 0x57, 0, 0x68, " t ", " b ", " a "\n"                                                           \
    "srli " a ", " a ", 16\n"                                                                                \
    "srli " b ", " b ", 16\n"                                                                                \
    ".insn r 0x57, 0, 0x68, " u ", " b ", " a "\n" ODL_ASM_VFADD_H(rd, t, u)

#endif
