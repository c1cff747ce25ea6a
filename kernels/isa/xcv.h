/* Dialect ODL_ISA_XCV: CV32E40P with packed fp16 (CORE-V v2 memory, SIMD and hardware loop instructions). */
#ifndef ODL_XCV_H
#define ODL_XCV_H

#include "f16x2.h"
#include "f32x1.h"
#include "overflow.h"
#include "packed_asm.h"

/* cv.setup: the end is the first instruction behind the body, counted in words from this one. */
#define ODL_ASM_REPEAT(level, count, words)                                                                  \
    ".insn i 0x2b, 4, " ODL_ASM_LOOP_##level ", " count ", " #words " + 1\n"
#define ODL_ASM_LOOP_0 "x14"
#define ODL_ASM_LOOP_1 "x15"

#define ODL_ASM_LW(rd, p, step) "cv.lw " rd ", (" p "), " #step "\n"
#define ODL_ASM_LHU(rd, p, step) "cv.lhu " rd ", (" p "), " #step "\n"
#define ODL_ASM_LW_BY(rd, p, step) "cv.lw " rd ", (" p "), " step "\n"
#define ODL_ASM_LHU_BY(rd, p, step) "cv.lhu " rd ", (" p "), " step "\n"
#define ODL_ASM_LIMIT_f16(rd, a, floor) "cv.max.h " rd ", " a ", " floor "\n"
#define ODL_ASM_FOLD_2(rd, t, u, a, b)                                                                       \
    "cv.pack " t ", " b ", " a "\n"                                                                          \
    "cv.pack.h " u ", " b ", " a "\n" ODL_ASM_VFADD_H(rd, t, u)

#endif
