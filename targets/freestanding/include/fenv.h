/* The part of <fenv.h> about exception flags: RISC-V's fflags (unprivileged specification, "Floating-point
 * control and status register"), Arm's FPSCR, and FPSR of 64-bit Arm. */
#ifndef ODL_FENV_H
#define ODL_FENV_H

#if defined(__riscv)

#define FE_INEXACT 0x01
#define FE_UNDERFLOW 0x02
#define FE_OVERFLOW 0x04
#define FE_DIVBYZERO 0x08
#define FE_INVALID 0x10

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

#elif defined(__aarch64__) || defined(__ARM_FP)

#define FE_INVALID 0x01
#define FE_DIVBYZERO 0x02
#define FE_OVERFLOW 0x04
#define FE_UNDERFLOW 0x08
#define FE_INEXACT 0x10

#if defined(__aarch64__)
#define ODL_READ_FLAGS "mrs %0, fpsr"
#define ODL_WRITE_FLAGS "msr fpsr, %0"
#else
#define ODL_READ_FLAGS "vmrs %0, fpscr"
#define ODL_WRITE_FLAGS "vmsr fpscr, %0"
#endif

static inline int fetestexcept(int excepts) {
    unsigned long flags;
    __asm__ volatile(ODL_READ_FLAGS : "=r"(flags) : : "memory");
    return (int)flags & excepts;
}

static inline int feclearexcept(int excepts) {
    unsigned long flags;
    __asm__ volatile(ODL_READ_FLAGS : "=r"(flags) : : "memory");
    flags &= ~(unsigned long)excepts;
    __asm__ volatile(ODL_WRITE_FLAGS : : "r"(flags) : "memory");
    return 0;
}

static inline int feraiseexcept(int excepts) {
    unsigned long flags;
    __asm__ volatile(ODL_READ_FLAGS : "=r"(flags) : : "memory");
    flags |= (unsigned long)excepts;
    __asm__ volatile(ODL_WRITE_FLAGS : : "r"(flags) : "memory");
    return 0;
}

#else
#error "no floating-point exception flags are known here: take the <fenv.h> of a C library"
#endif

#define FE_ALL_EXCEPT 0x1f

#endif
