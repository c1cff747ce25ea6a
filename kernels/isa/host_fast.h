/* Dialect ODL_ISA_HOST_FAST: storage as on the device, arithmetic in fp32 and as wide as the host allows.
 *
 * Not the device's bits: sums are more accurate. 8 lanes where the compiler may use AVX, else 4 lanes of the
 * compilers' portable vectors.
 */
#ifndef ODL_HOST_FAST_H
#define ODL_HOST_FAST_H

#include "half.h"
#include "overflow.h"
#include "value_limits.h"

#if defined(__AVX__)
#define ODL_LANES_F32 8u
#else
#define ODL_LANES_F32 4u
#endif
#define ODL_LANES_F16 ODL_LANES_F32
#define ODL_LANES_f16 ODL_LANES_F16
#define ODL_LANES_f32 ODL_LANES_F32

typedef float odl_vec_f32 __attribute__((vector_size(4 * ODL_LANES_F32)));

static inline odl_vec_f32 odl_vzero_f32(void) { return (odl_vec_f32){0.0f}; }

static inline odl_vec_f32 odl_vload_f32(const odl_f32 *p) {
    odl_vec_f32 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void odl_vstore_f32(odl_f32 *p, odl_vec_f32 v) { memcpy(p, &v, sizeof v); }

#if defined(__AVX__)

typedef int32_t odl_lane_mask __attribute__((vector_size(32)));

/* All ones in the first n lanes. */
static inline odl_lane_mask odl_first_lanes(uint32_t n) {
    static const int32_t ones_zeros[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    odl_lane_mask mask;
    memcpy(&mask, ones_zeros + 8 - n, sizeof mask);
    return mask;
}

static inline odl_vec_f32 odl_vload_tail_f32(const odl_f32 *p, uint32_t n) {
    return __builtin_ia32_maskloadps256((const odl_vec_f32 *)(const void *)p, odl_first_lanes(n));
}

static inline void odl_vstore_tail_f32(odl_f32 *p, odl_vec_f32 v, uint32_t n) {
    __builtin_ia32_maskstoreps256((odl_vec_f32 *)(void *)p, odl_first_lanes(n), v);
}

/* The lanes of v in another order. Only gcc before 12 lacks the first builtin, and clang has not the second.
 */
#if defined(__clang__) || __GNUC__ >= 12
#define ODL_REORDERED(v, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
#else
#define ODL_REORDERED(v, ...) __builtin_shuffle(v, (odl_lane_mask){__VA_ARGS__})
#endif

static inline float odl_vsum_f32(odl_vec_f32 v) {
    const odl_vec_f32 four = v + ODL_REORDERED(v, 4, 5, 6, 7, 0, 1, 2, 3);
    const odl_vec_f32 two = four + ODL_REORDERED(four, 2, 3, 0, 1, 6, 7, 4, 5);
    return two[0] + two[1];
}

#else

static inline odl_vec_f32 odl_vload_tail_f32(const odl_f32 *p, uint32_t n) {
    odl_vec_f32 v = odl_vzero_f32();
    memcpy(&v, p, n * sizeof *p);
    return v;
}

static inline void odl_vstore_tail_f32(odl_f32 *p, odl_vec_f32 v, uint32_t n) {
    memcpy(p, &v, n * sizeof *p);
}

static inline float odl_vsum_f32(odl_vec_f32 v) { return (v[0] + v[2]) + (v[1] + v[3]); }

#endif

static inline odl_vec_f32 odl_vdup_f32(const odl_f32 *p) { return odl_vzero_f32() + *p; }

/* The compiler fuses this where it can (-ffp-contract=fast). */
static inline odl_vec_f32 odl_vmac_f32(odl_vec_f32 sum, odl_vec_f32 a, odl_vec_f32 b) { return sum + a * b; }
static inline odl_vec_f32 odl_vadd_f32(odl_vec_f32 a, odl_vec_f32 b) { return a + b; }
static inline odl_vec_f32 odl_vsub_f32(odl_vec_f32 a, odl_vec_f32 b) { return a - b; }
static inline odl_vec_f32 odl_vmul_f32(odl_vec_f32 a, odl_vec_f32 b) { return a * b; }

typedef odl_vec_f32 odl_wide_f32;

static inline odl_wide_f32 odl_wide_zero_f32(void) { return odl_vzero_f32(); }
static inline odl_wide_f32 odl_widen_f32(odl_vec_f32 v) { return v; }
static inline odl_wide_f32 odl_wide_add_f32(odl_wide_f32 w, odl_vec_f32 v) { return w + v; }
static inline odl_vec_f32 odl_narrow_f32(odl_wide_f32 w) { return w; }

/* A vector's comparison gives all ones or all zeros in each lane. */
typedef int32_t odl_lanes_i32 __attribute__((vector_size(4 * ODL_LANES_F32)));

static inline odl_vec_f32 odl_vmask_f32(odl_vec_f32 v, odl_vec_f32 m, const struct odl_limits *l) {
    odl_lanes_i32 blocked = {0};
    if (l->low >= -0x1.fffffep+127f) {
        blocked |= m <= l->low;
    }
    if (l->high <= 0x1.fffffep+127f) {
        blocked |= m >= l->high;
    }
    return (odl_vec_f32)(~blocked & (odl_lanes_i32)v);
}

static inline odl_vec_f32 odl_vfirst_f32(const odl_f32 *p) { return odl_vload_tail_f32(p, 1); }

static inline void odl_wide_store_f32(float *p, odl_wide_f32 w) { odl_vstore_f32(p, w); }

/* fp16 vectors hold floats; only loads and stores know of halves. */
typedef odl_vec_f32 odl_vec_f16;
typedef odl_wide_f32 odl_wide_f16;

#if defined(__AVX__) && defined(__F16C__)

#if defined(__GNUC__) && !defined(__clang__)
#define ODL_CVTPH_PS_8(halves) __builtin_ia32_vcvtph2ps256((__v8hi)(halves))
#define ODL_CVTPS_PH_8(floats) ((__m128i)__builtin_ia32_vcvtps2ph256(floats, _MM_FROUND_TO_NEAREST_INT))
#else
#define ODL_CVTPH_PS_8(halves) ((odl_vec_f32)_mm256_cvtph_ps(halves))
#define ODL_CVTPS_PH_8(floats) _mm256_cvtps_ph((__m256)(floats), _MM_FROUND_TO_NEAREST_INT)
#endif

static inline odl_vec_f16 odl_vload_f16(const odl_f16 *p) {
    __m128i halves;
    memcpy(&halves, p, sizeof halves);
    return ODL_CVTPH_PS_8(halves);
}

static inline void odl_vstore_f16(odl_f16 *p, odl_vec_f16 v) {
    const odl_lane_mask number = v == v;
    const odl_lane_mask clean = (number & (odl_lane_mask)v) | (~number & 0x7fc00000);
    const __m128i halves = ODL_CVTPS_PH_8((odl_vec_f32)clean);
    memcpy(p, &halves, sizeof halves);
}

#else

static inline odl_vec_f16 odl_vload_f16(const odl_f16 *p) {
    odl_vec_f16 v = odl_vzero_f32();
    for (uint32_t i = 0; i < ODL_LANES_F16; i++) {
        v[i] = odl_half_to_float(p[i]);
    }
    return v;
}

static inline void odl_vstore_f16(odl_f16 *p, odl_vec_f16 v) {
    for (uint32_t i = 0; i < ODL_LANES_F16; i++) {
        p[i] = odl_float_to_half(v[i]);
    }
}

#endif

static inline odl_vec_f16 odl_vload_tail_f16(const odl_f16 *p, uint32_t n) {
    odl_f16 halves[ODL_LANES_F16] = {0};
    for (uint32_t i = 0; i < n; i++) {
        halves[i] = p[i];
    }
    return odl_vload_f16(halves);
}

static inline void odl_vstore_tail_f16(odl_f16 *p, odl_vec_f16 v, uint32_t n) {
    odl_f16 halves[ODL_LANES_F16];
    odl_vstore_f16(halves, v);
    for (uint32_t i = 0; i < n; i++) {
        p[i] = halves[i];
    }
}

static inline odl_vec_f16 odl_vzero_f16(void) { return odl_vzero_f32(); }
static inline odl_vec_f16 odl_vdup_f16(const odl_f16 *p) { return odl_vzero_f32() + odl_half_to_float(*p); }
static inline odl_vec_f16 odl_vmac_f16(odl_vec_f16 sum, odl_vec_f16 a, odl_vec_f16 b) { return sum + a * b; }
static inline odl_vec_f16 odl_vadd_f16(odl_vec_f16 a, odl_vec_f16 b) { return a + b; }
static inline odl_vec_f16 odl_vsub_f16(odl_vec_f16 a, odl_vec_f16 b) { return a - b; }
static inline odl_vec_f16 odl_vmul_f16(odl_vec_f16 a, odl_vec_f16 b) { return a * b; }
static inline float odl_vsum_f16(odl_vec_f16 v) { return odl_vsum_f32(v); }
static inline odl_wide_f16 odl_wide_zero_f16(void) { return odl_vzero_f32(); }
static inline odl_wide_f16 odl_widen_f16(odl_vec_f16 v) { return v; }
static inline odl_wide_f16 odl_wide_add_f16(odl_wide_f16 w, odl_vec_f16 v) { return w + v; }
static inline odl_vec_f16 odl_narrow_f16(odl_wide_f16 w) { return w; }

static inline odl_vec_f16 odl_vmask_f16(odl_vec_f16 v, odl_vec_f16 m, const struct odl_limits *l) {
    return odl_vmask_f32(v, m, l);
}

static inline odl_vec_f16 odl_vfirst_f16(const odl_f16 *p) { return odl_vload_tail_f16(p, 1); }

static inline void odl_wide_store_f16(float *p, odl_wide_f16 w) { odl_vstore_f32(p, w); }

#endif
