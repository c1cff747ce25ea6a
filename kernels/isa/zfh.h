/* Dialect ODL_ISA_ZFH: standard RISC-V with scalar fp16 arithmetic and no vectors. A vector of two halves is
 * two registers, so that the bits are those of cores with packed fp16 (host_exact.h with ODL_LANES_F16 = 2).
 */
#ifndef ODL_ZFH_H
#define ODL_ZFH_H

#include "f32x1.h"
#include "overflow.h"
#include "standard_half.h"
#include "value_limits.h"

#define ODL_LANES_f16 2u

typedef struct {
    _Float16 low, high;
} odl_vec_f16;

static inline odl_vec_f16 odl_vzero_f16(void) { return (odl_vec_f16){0, 0}; }

static inline odl_vec_f16 odl_vdup_f16(const odl_f16 *p) {
    const _Float16 v = odl_standard_half(p)[0];
    return (odl_vec_f16){v, v};
}

static inline odl_vec_f16 odl_vload_f16(const odl_f16 *p) {
    return (odl_vec_f16){odl_standard_half(p)[0], odl_standard_half(p)[1]};
}

static inline odl_vec_f16 odl_vfirst_f16(const odl_f16 *p) {
    return (odl_vec_f16){odl_standard_half(p)[0], 0};
}

static inline odl_vec_f16 odl_vload_tail_f16(const odl_f16 *p, uint32_t n) {
    return n != 0 ? odl_vfirst_f16(p) : odl_vzero_f16();
}

static inline void odl_vstore_tail_f16(odl_f16 *p, odl_vec_f16 v, uint32_t n) {
    if (n != 0) {
        *(_Float16 *)(void *)p = v.low;
    }
}

static inline void odl_vstore_f16(odl_f16 *p, odl_vec_f16 v) {
    _Float16 *const halves = (_Float16 *)(void *)p;
    halves[0] = v.low;
    halves[1] = v.high;
}

static inline odl_vec_f16 odl_vmac_f16(odl_vec_f16 sum, odl_vec_f16 a, odl_vec_f16 b) {
    return (odl_vec_f16){__builtin_fmaf16(a.low, b.low, sum.low), __builtin_fmaf16(a.high, b.high, sum.high)};
}

static inline odl_vec_f16 odl_vadd_f16(odl_vec_f16 a, odl_vec_f16 b) {
    return (odl_vec_f16){a.low + b.low, a.high + b.high};
}

static inline odl_vec_f16 odl_vsub_f16(odl_vec_f16 a, odl_vec_f16 b) {
    return (odl_vec_f16){a.low - b.low, a.high - b.high};
}

static inline odl_vec_f16 odl_vmul_f16(odl_vec_f16 a, odl_vec_f16 b) {
    return (odl_vec_f16){a.low * b.low, a.high * b.high};
}

static inline float odl_vsum_f16(odl_vec_f16 v) { return (float)(_Float16)(v.low + v.high); }

typedef struct {
    float low, high;
} odl_wide_f16;

static inline odl_wide_f16 odl_wide_zero_f16(void) { return (odl_wide_f16){0.0f, 0.0f}; }

static inline odl_wide_f16 odl_widen_f16(odl_vec_f16 v) {
    return (odl_wide_f16){(float)v.low, (float)v.high};
}

static inline odl_wide_f16 odl_wide_add_f16(odl_wide_f16 w, odl_vec_f16 v) {
    return (odl_wide_f16){w.low + (float)v.low, w.high + (float)v.high};
}

static inline odl_vec_f16 odl_narrow_f16(odl_wide_f16 w) {
    return (odl_vec_f16){(_Float16)w.low, (_Float16)w.high};
}

static inline void odl_wide_store_f16(float *p, odl_wide_f16 w) {
    p[0] = w.low;
    p[1] = w.high;
}

static inline odl_vec_f16 odl_vmask_f16(odl_vec_f16 v, odl_vec_f16 m, const struct odl_limits *l) {
    return (odl_vec_f16){odl_passes((float)m.low, l) ? v.low : (_Float16)0,
                         odl_passes((float)m.high, l) ? v.high : (_Float16)0};
}

#endif
