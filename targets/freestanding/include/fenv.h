/* The part of <fenv.h> about exception flags: RISC-V's fflags (unprivileged specification, "Floating-point
 * control and status register"). */
#ifndef ODL_FENV_H
#define ODL_FENV_H

#define FE_INEXACT 0x01
#define FE_UNDERFLOW 0x02
#define FE_OVERFLOW 0x04
#define FE_DIVBYZERO 0x08
#define FE_INVALID 0x10
#define FE_ALL_EXCEPT 0x1f

static inline int feclearexcept(int excepts) {
    __asm__ volatile("csrc fflags, %0" : : "r"(excepts) : "memory");
    return 0;
}

static inline int fetestexcept(int excepts) {
    int flags;
    __asm__ volatile("csrr %0, fflags" : "=r"(flags) : : "memory");
    return flags & excepts;
}

static inline int feraiseexcept(int excepts) {
    __asm__ volatile("csrs fflags, %0" : : "r"(excepts) : "memory");
    return 0;
}

#endif
