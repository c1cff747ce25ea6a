/* Elementary functions in fp32: the same bits on every machine, unlike a C library's.
 *
 * Each is a range reduction and a polynomial whose coefficients were fitted here by linear programming
 * (smallest largest relative error on the reduced range). Only IEEE operations and explicit fused
 * multiply-adds are used, so neither compiler nor processor can change a bit (with -ffp-contract=off). The
 * overflow, invalid and division by zero flags are raised as IEEE 754 wants them and never otherwise: loss
 * scaling relies on these flags.
 */
#ifndef ODL_MATH_H
#define ODL_MATH_H

#include <stdint.h>
#include <string.h>

/* log(2) in two parts; the first has 15 significant bits, so its product with an exponent is exact. */
#define ODL_LN2_HIGH 0x1.62e4p-1f
#define ODL_LN2_LOW 0x1.7f7d1cp-20f

/* v limited to [low, high]; NaN stays NaN. */
static inline float odl_clamp(float v, float low, float high) { return v < low ? low : v > high ? high : v; }

/* 2^n for -126 <= n <= 127. */
static inline float odl_power_of_two(int32_t n) {
    const uint32_t bits = (uint32_t)(n + 127) << 23;
    float v;
    __builtin_memcpy(&v, &bits, sizeof v);
    return v;
}

/* e^x. Relative error at most 9e-8 where the result is a normal number (measured at every 37th float). */
static inline float odl_expf(float x) {
    if (x != x) { /* before any comparison that would raise the invalid flag */
        return x;
    }
    if (x < -104.0f) { /* e^-104 is below half of the smallest subnormal number */
        return 0.0f;
    }
    if (x > 89.0f) { /* infinity itself, or a number whose e^x overflows */
        return x * 0x1p127f;
    }
    /* x = n log(2) + r with |r| <= log(2) / 2. Adding 1.5 * 2^23 rounds to an integer. */
    const float n = __builtin_fmaf(x, 0x1.715476p+0f, 0x1.8p+23f) - 0x1.8p+23f;
    const float r = __builtin_fmaf(-n, ODL_LN2_LOW, __builtin_fmaf(-n, ODL_LN2_HIGH, x));
    /* e^r = 1 + r + r^2 q(r) */
    float q = 0x1.6a1a7p-10f;
    q = __builtin_fmaf(q, r, 0x1.123fc6p-7f);
    q = __builtin_fmaf(q, r, 0x1.555916p-5f);
    q = __builtin_fmaf(q, r, 0x1.55548ap-3f);
    q = __builtin_fmaf(q, r, 0x1.fffffcp-2f);
    const float mantissa = 1.0f + __builtin_fmaf(r * r, q, r);
    /* Two steps: 2^n itself may not be a normal number. Only the second can round or overflow. */
    const int32_t exponent = (int32_t)n;
    const int32_t half = exponent / 2;
    return mantissa * odl_power_of_two(half) * odl_power_of_two(exponent - half);
}

/* Natural logarithm. Relative error at most 9e-8 (measured at every 37th float). */
static inline float odl_logf(float x) {
    if (x != x) {
        return x;
    }
    if (x <= 0.0f) {
        return x == 0.0f ? -1.0f / (x * x) : (x - x) / (x - x); /* -infinity; NaN */
    }
    if (x > 0x1.fffffep+127f) {
        return x;
    }
    int32_t exponent = 0;
    if (x < 0x1p-126f) {
        x *= 0x1p+23f;
        exponent = -23;
    }
    /* x = 2^exponent (1 + f) with 1 + f between sqrt(1/2) and sqrt(2). */
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    const uint32_t above = bits - 0x3f3504f3u; /* bits of sqrt(1/2); `above` may wrap */
    const uint32_t steps = (above + 0x80000000u) >> 23;
    exponent += (int32_t)steps - 256;
    bits = (above & 0x7fffffu) + 0x3f3504f3u;
    float f;
    __builtin_memcpy(&f, &bits, sizeof f);
    f -= 1.0f;
    /* log(1 + f) = 2 artanh(s), s = f / (2 + f); 2 s = f - s f, hence f - s (f - s^2 q(s^2)). */
    const float s = f / (2.0f + f);
    const float z = s * s;
    float q = 0x1.e3406p-3f;
    q = __builtin_fmaf(q, z, 0x1.2437p-2f);
    q = __builtin_fmaf(q, z, 0x1.999a82p-2f);
    q = __builtin_fmaf(q, z, 0x1.555554p-1f);
    const float k = (float)exponent;
    const float small = __builtin_fmaf(k, ODL_LN2_LOW, -s * __builtin_fmaf(-z, q, f));
    return __builtin_fmaf(k, ODL_LN2_HIGH, f + small);
}

#endif
