/* The part of <math.h> that is one instruction or a constant: there is no C library on these targets. */
#ifndef ODL_FREESTANDING_MATH_H
#define ODL_FREESTANDING_MATH_H

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define isnan(x) __builtin_isnan(x)
#define isinf(x) __builtin_isinf(x)
#define isfinite(x) __builtin_isfinite(x)

static inline float sqrtf(float x) {
    float root;
#if defined(__riscv_zfinx)
    __asm__("fsqrt.s %0, %1" : "=r"(root) : "r"(x));
#elif defined(__riscv)
    __asm__("fsqrt.s %0, %1" : "=f"(root) : "f"(x));
#elif defined(__aarch64__)
    __asm__("fsqrt %s0, %s1" : "=w"(root) : "w"(x));
#else
    __asm__("vsqrt.f32 %0, %1" : "=t"(root) : "t"(x));
#endif
    return root;
}

static inline float fabsf(float x) { return __builtin_fabsf(x); }
static inline float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline float fminf(float a, float b) { return __builtin_fminf(a, b); }
static inline float fmaxf(float a, float b) { return __builtin_fmaxf(a, b); }

#endif
