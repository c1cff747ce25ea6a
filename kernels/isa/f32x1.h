/* Vectors of one float: cores without SIMD in fp32, and the host in their stead. */
#ifndef ODL_F32X1_H
#define ODL_F32X1_H

#include "half.h"
#include "value_limits.h"

#define ODL_LANES_f32 1u

typedef float odl_vec_f32;

static inline odl_vec_f32 odl_vzero_f32(void) { return 0.0f; }
static inline odl_vec_f32 odl_vdup_f32(const odl_f32 *p) { return *p; }
static inline odl_vec_f32 odl_vload_f32(const odl_f32 *p) { return *p; }
static inline void odl_vstore_f32(odl_f32 *p, odl_vec_f32 v) { *p = v; }

/* A vector of one lane has no tail. */
static inline odl_vec_f32 odl_vload_tail_f32(const odl_f32 *p, uint32_t n) {
    (void)p;
    (void)n;
    return 0.0f;
}

static inline void odl_vstore_tail_f32(odl_f32 *p, odl_vec_f32 v, uint32_t n) {
    (void)p;
    (void)v;
    (void)n;
}

static inline odl_vec_f32 odl_vmac_f32(odl_vec_f32 sum, odl_vec_f32 a, odl_vec_f32 b) {
    return __builtin_fmaf(a, b, sum);
}

static inline odl_vec_f32 odl_vadd_f32(odl_vec_f32 a, odl_vec_f32 b) { return a + b; }
static inline odl_vec_f32 odl_vsub_f32(odl_vec_f32 a, odl_vec_f32 b) { return a - b; }
static inline odl_vec_f32 odl_vmul_f32(odl_vec_f32 a, odl_vec_f32 b) { return a * b; }
static inline float odl_vsum_f32(odl_vec_f32 v) { return v; }

/* A lane of fp32 is wide already. */
typedef odl_vec_f32 odl_wide_f32;

static inline odl_wide_f32 odl_wide_zero_f32(void) { return 0.0f; }
static inline odl_wide_f32 odl_widen_f32(odl_vec_f32 v) { return v; }
static inline odl_wide_f32 odl_wide_add_f32(odl_wide_f32 w, odl_vec_f32 v) { return w + v; }
static inline odl_vec_f32 odl_narrow_f32(odl_wide_f32 w) { return w; }

static inline odl_vec_f32 odl_vmask_f32(odl_vec_f32 v, odl_vec_f32 m, const struct odl_limits *l) {
#if defined(__riscv)
    if (l->plain && l->floor == 0u) { /* the canonical NaN is a positive integer */
        int32_t bits, mask;
        __builtin_memcpy(&bits, &v, sizeof bits);
        __builtin_memcpy(&mask, &m, sizeof mask);
        bits = mask > 0 ? bits : 0;
        __builtin_memcpy(&v, &bits, sizeof v);
        return v;
    }
#endif
    return odl_passes(m, l) ? v : 0.0f;
}

static inline odl_vec_f32 odl_vfirst_f32(const odl_f32 *p) { return *p; }

static inline void odl_wide_store_f32(float *p, odl_wide_f32 w) { *p = w; }

#endif
