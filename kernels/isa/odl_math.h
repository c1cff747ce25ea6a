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

/* e^r - 1 with x = exponent log(2) + r and |r| <= log(2) / 2, for x between -104 and 89. */
static inline float odl_exp_rest(float x, int32_t *exponent) {
    /* Adding 1.5 * 2^23 rounds to an integer. */
    const float n = __builtin_fmaf(x, 0x1.715476p+0f, 0x1.8p+23f) - 0x1.8p+23f;
    const float r = __builtin_fmaf(-n, ODL_LN2_LOW, __builtin_fmaf(-n, ODL_LN2_HIGH, x));
    /* e^r = 1 + r + r^2 q(r) */
    float q = 0x1.6a1a7p-10f;
    q = __builtin_fmaf(q, r, 0x1.123fc6p-7f);
    q = __builtin_fmaf(q, r, 0x1.555916p-5f);
    q = __builtin_fmaf(q, r, 0x1.55548ap-3f);
    q = __builtin_fmaf(q, r, 0x1.fffffcp-2f);
    *exponent = (int32_t)n;
    return __builtin_fmaf(r * r, q, r);
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
    int32_t exponent;
    const float mantissa = 1.0f + odl_exp_rest(x, &exponent);
    /* Two steps: 2^n itself may not be a normal number. Only the second can round or overflow. */
    const int32_t half = exponent / 2;
    return mantissa * odl_power_of_two(half) * odl_power_of_two(exponent - half);
}

/* e^x - 1 for x <= 0, without cancellation near 0. Relative error at most 2e-7. */
static inline float odl_expm1f(float x) {
    if (x != x) {
        return x;
    }
    if (x < -18.0f) { /* nearer to -1 than half a unit in the last place */
        return -1.0f;
    }
    int32_t exponent;
    const float rest = odl_exp_rest(x, &exponent);
    const float scale = odl_power_of_two(exponent);
    return __builtin_fmaf(scale, rest, scale - 1.0f);
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

/* log(1 + e) for e between 0 and 1: the logarithm's argument is rounded, which the quotient makes good.
 * Relative error at most 3e-7 (Goldberg 1991, "What every computer scientist should know about floating-point
 * arithmetic", theorem 4). */
static inline float odl_log1pf(float e) {
    const float sum = 1.0f + e;
    return sum == 1.0f ? e : odl_logf(sum) * (e / (sum - 1.0f));
}

/* The chance that a standard normal number is below -z, for z >= 0, and in *density how dense it is there.
 * Relative error at most 5e-7 where the result is a normal number; 0 where z > 13.
 *
 * The chance is e^(-z^2/2) t p(t) with t = 1 / (1 + 0.35 z); what rounding z^2 loses is made good. */
static inline float odl_normal_tail(float z, float *density) {
    if (z > 13.0f) {
        *density = 0.0f;
        return 0.0f;
    }
    const float square = z * z, lost = __builtin_fmaf(z, z, -square);
    const float e = odl_expf(-0.5f * square), decay = __builtin_fmaf(e, -0.5f * lost, e);
    const float t = 1.0f / __builtin_fmaf(z, 0.35f, 1.0f);
    float p = -0x1.e57504p-6f;
    p = __builtin_fmaf(p, t, 0x1.2b6a6p-3f);
    p = __builtin_fmaf(p, t, -0x1.0a4462p-2f);
    p = __builtin_fmaf(p, t, 0x1.4f5cfep-3f);
    p = __builtin_fmaf(p, t, -0x1.aa45ccp-6f);
    p = __builtin_fmaf(p, t, 0x1.b4c99ep-4f);
    p = __builtin_fmaf(p, t, 0x1.e9c3d2p-4f);
    p = __builtin_fmaf(p, t, 0x1.1e8118p-3f);
    p = __builtin_fmaf(p, t, 0x1.1df0fp-3f);
    *density = decay * 0x1.988454p-2f; /* over the root of 2 pi */
    return decay * (p * t);
}

#endif
