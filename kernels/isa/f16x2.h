/* Vectors of two halves in a 32-bit register: cores with packed fp16, and the host in their stead. */
#ifndef ODL_F16X2_H
#define ODL_F16X2_H

#include "packed_fp16.h"
#include "value_limits.h"

#define ODL_LANES_f16 2u

typedef uint32_t odl_vec_f16;

static inline odl_vec_f16 odl_vzero_f16(void) { return 0; }

static inline odl_vec_f16 odl_vdup_f16(const odl_f16 *p) { return (uint32_t)*p | (uint32_t)*p << 16; }

static inline odl_vec_f16 odl_vload_tail_f16(const odl_f16 *p, uint32_t n) { return n != 0u ? *p : 0; }

static inline void odl_vstore_tail_f16(odl_f16 *p, odl_vec_f16 v, uint32_t n) {
    if (n != 0u) {
        *p = (odl_f16)v;
    }
}

static inline odl_vec_f16 odl_vmac_f16(odl_vec_f16 sum, odl_vec_f16 a, odl_vec_f16 b) {
    return odl_vfmac_h(sum, a, b);
}

static inline odl_vec_f16 odl_vadd_f16(odl_vec_f16 a, odl_vec_f16 b) { return odl_vfadd_h(a, b); }

static inline odl_vec_f16 odl_vsub_f16(odl_vec_f16 a, odl_vec_f16 b) { return odl_vfsub_h(a, b); }

static inline odl_vec_f16 odl_vmul_f16(odl_vec_f16 a, odl_vec_f16 b) { return odl_vfmul_h(a, b); }

static inline float odl_vsum_f16(odl_vec_f16 v) {
    return odl_half_to_float((odl_f16)odl_vfadd_h(v, v >> 16));
}

#if defined(__riscv)

/* A word at any even address: the core splits an access that is not aligned. The compiler would load halves.
 */
static inline odl_vec_f16 odl_vload_f16(const odl_f16 *p) { return *(const uint32_t *)(const void *)p; }

static inline void odl_vstore_f16(odl_f16 *p, odl_vec_f16 v) { *(uint32_t *)(void *)p = v; }

#else

static inline odl_vec_f16 odl_vload_f16(const odl_f16 *p) {
    odl_vec_f16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void odl_vstore_f16(odl_f16 *p, odl_vec_f16 v) { memcpy(p, &v, sizeof v); }

#endif

typedef struct {
    float low, high;
} odl_wide_f16;

static inline odl_wide_f16 odl_wide_zero_f16(void) { return (odl_wide_f16){0.0f, 0.0f}; }

static inline odl_wide_f16 odl_widen_f16(odl_vec_f16 v) {
    return (odl_wide_f16){odl_half_to_float((odl_f16)v), odl_half_to_float((odl_f16)(v >> 16))};
}

static inline odl_wide_f16 odl_wide_add_f16(odl_wide_f16 w, odl_vec_f16 v) {
    const odl_wide_f16 addend = odl_widen_f16(v);
    return (odl_wide_f16){w.low + addend.low, w.high + addend.high};
}

static inline odl_vec_f16 odl_narrow_f16(odl_wide_f16 w) { return odl_vfcpka_h_s(w.low, w.high); }

ODL_RARELY odl_vec_f16 odl_mask_by_limits_f16(odl_vec_f16 v, odl_vec_f16 m, const struct odl_limits *l) {
    return (odl_passes(odl_half_to_float((odl_f16)m), l) ? v & 0xffffu : 0u) |
           (odl_passes(odl_half_to_float((odl_f16)(m >> 16)), l) ? v & 0xffff0000u : 0u);
}

static inline odl_vec_f16 odl_vmask_f16(odl_vec_f16 v, odl_vec_f16 m, const struct odl_limits *l) {
    if (ODL_LIKELY(l->plain)) {
        return l->floor != 0u ? v : v & odl_positive_h(m);
    }
    return odl_mask_by_limits_f16(v, m, l);
}

static inline odl_vec_f16 odl_vfirst_f16(const odl_f16 *p) { return *p; }

static inline void odl_wide_store_f16(float *p, odl_wide_f16 w) {
    p[0] = w.low;
    p[1] = w.high;
}

#endif
