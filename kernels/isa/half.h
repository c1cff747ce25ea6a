/* IEEE binary16 ("half"): storage, and conversions with one rounding to nearest even.
 *
 * Where the processor converts (Zhinx, Zfh, F16C) it does so here, else integer code gives the same bits and
 * raises the same overflow and invalid flags. A NaN always becomes the canonical one, 0x7e00 or 0x7fc00000,
 * as on RISC-V (unprivileged specification, "NaN generation and propagation").
 */
#ifndef ODL_HALF_H
#define ODL_HALF_H

#include <fenv.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t odl_f16;
typedef float odl_f32;

#if defined(__riscv_zhinx) || defined(__riscv_zhinxmin) || defined(__riscv_zfh) || defined(__riscv_zfhmin)

/* fcvt.s.h and fcvt.h.s */
static inline float odl_half_to_float(odl_f16 half) {
    _Float16 v;
    __builtin_memcpy(&v, &half, sizeof v);
    return (float)v;
}

static inline odl_f16 odl_float_to_half(float v) {
    const _Float16 rounded = (_Float16)v;
    odl_f16 half;
    __builtin_memcpy(&half, &rounded, sizeof half);
    return half;
}

#elif defined(__F16C__)

/* gcc needs half a second to read <immintrin.h>, which adds up over many small files; clang has no such
 * builtins. */
#if defined(__GNUC__) && !defined(__clang__)
#include <smmintrin.h>
#define ODL_CVTPH_PS(halves) ((__m128)__builtin_ia32_vcvtph2ps((__v8hi)(halves)))
#define ODL_CVTPS_PH(floats) ((__m128i)__builtin_ia32_vcvtps2ph((__v4sf)(floats), _MM_FROUND_TO_NEAREST_INT))
#else
#include <immintrin.h>
#define ODL_CVTPH_PS(halves) _mm_cvtph_ps(halves)
#define ODL_CVTPS_PH(floats) _mm_cvtps_ph(floats, _MM_FROUND_TO_NEAREST_INT)
#endif

/* NaN lanes replaced by the canonical NaN. */
static inline __m128 odl_canonical_nan(__m128 v) {
    const __m128 canonical = _mm_castsi128_ps(_mm_set1_epi32(0x7fc00000));
    return _mm_blendv_ps(v, canonical, _mm_cmpunord_ps(v, v));
}

static inline float odl_half_to_float(odl_f16 half) {
    return _mm_cvtss_f32(odl_canonical_nan(ODL_CVTPH_PS(_mm_cvtsi32_si128(half))));
}

static inline odl_f16 odl_float_to_half(float v) {
    const __m128i half = ODL_CVTPS_PH(odl_canonical_nan(_mm_set_ss(v)));
    return (odl_f16)_mm_cvtsi128_si32(half);
}

#else

static inline float odl_half_to_float(odl_f16 half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = (half >> 10) & 0x1fu;
    const uint32_t mantissa = half & 0x3ffu;
    uint32_t bits;
    float v;
    if (exponent == 0u) {
        v = (float)mantissa * 0x1p-24f; /* exact: a multiple of the smallest subnormal */
        memcpy(&bits, &v, sizeof bits);
        bits |= sign;
    } else if (exponent < 31u) {
        bits = sign | (exponent + 112u) << 23 | mantissa << 13;
    } else {
        bits = mantissa == 0u ? sign | 0x7f800000u : 0x7fc00000u;
        if (mantissa != 0u && (mantissa & 0x200u) == 0u) { /* a signalling NaN */
            feraiseexcept(FE_INVALID);
        }
    }
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline odl_f16 odl_double_to_half(double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    const uint32_t sign = (uint32_t)(bits >> 48) & 0x8000u;
    const int exponent = (int)((bits >> 52) & 0x7ffu) - 1023;
    const uint64_t fraction = bits & 0xfffffffffffffu;
    if (exponent == 1024) {
        return fraction != 0u ? (odl_f16)0x7e00u : (odl_f16)(sign | 0x7c00u);
    }
    if (exponent < -25) { /* below half of the smallest subnormal */
        return (odl_f16)sign;
    }
    uint32_t magnitude = 0x7c00u;
    if (exponent < 16) {
        /* The mantissa keeps 11 bits, fewer below the smallest normal number; a carry runs into the exponent.
         */
        const int shift = exponent >= -14 ? 42 : 28 - exponent;
        const uint64_t mantissa = fraction | 0x10000000000000u;
        const uint64_t rest = mantissa & ((UINT64_C(1) << shift) - 1u);
        const uint64_t tie = UINT64_C(1) << (shift - 1);
        magnitude = (uint32_t)(mantissa >> shift);
        magnitude += rest > tie || (rest == tie && (magnitude & 1u) != 0u);
        magnitude += exponent >= -14 ? (uint32_t)(exponent + 14) << 10 : 0u;
    }
    if (magnitude >= 0x7c00u) {
        magnitude = 0x7c00u;
        feraiseexcept(FE_OVERFLOW);
    }
    return (odl_f16)(sign | magnitude);
}

static inline odl_f16 odl_float_to_half(float v) { return odl_double_to_half((double)v); }

#endif

static inline float odl_load_f16(const odl_f16 *p) { return odl_half_to_float(*p); }
static inline void odl_store_f16(odl_f16 *p, float v) { *p = odl_float_to_half(v); }
static inline float odl_load_f32(const odl_f32 *p) { return *p; }
static inline void odl_store_f32(odl_f32 *p, float v) { *p = v; }

#endif
