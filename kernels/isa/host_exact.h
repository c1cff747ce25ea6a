/* Dialect ODL_ISA_HOST_EXACT: the bits of the device on any host.
 *
 * fp16 vectors are packed halves, ODL_LANES_F16 = 2 (as on cores with packed fp16; default) or 8 (as on
 * RISC-V vectors of 128 bits); fp32 vectors have ODL_LANES_F32 = 1 (default) or 4 lanes.
 */
#ifndef ODL_HOST_EXACT_H
#define ODL_HOST_EXACT_H

#include "overflow.h"
#include "packed_fp16.h"
#include "value_limits.h"

#ifndef ODL_LANES_F16
#define ODL_LANES_F16 2
#endif
#ifndef ODL_LANES_F32
#define ODL_LANES_F32 1
#endif

#if ODL_LANES_F16 == 2

#include "f16x2.h"

#elif ODL_LANES_F16 == 8

#define ODL_LANES_f16 8u

typedef struct {
    uint32_t w0, w1, w2, w3;
} odl_vec_f16;

static inline odl_vec_f16 odl_vzero_f16(void) { return (odl_vec_f16){0, 0, 0, 0}; }

static inline odl_vec_f16 odl_vdup_f16(const odl_f16 *p) {
    const uint32_t both = (uint32_t)*p | (uint32_t)*p << 16;
    return (odl_vec_f16){both, both, both, both};
}

static inline odl_vec_f16 odl_vload_tail_f16(const odl_f16 *p, uint32_t n) {
    odl_vec_f16 v = odl_vzero_f16();
    memcpy(&v, p, n * sizeof *p);
    return v;
}

static inline void odl_vstore_tail_f16(odl_f16 *p, odl_vec_f16 v, uint32_t n) {
    memcpy(p, &v, n * sizeof *p);
}

static inline odl_vec_f16 odl_vmac_f16(odl_vec_f16 sum, odl_vec_f16 a, odl_vec_f16 b) {
    return (odl_vec_f16){odl_vfmac_h(sum.w0, a.w0, b.w0), odl_vfmac_h(sum.w1, a.w1, b.w1),
                         odl_vfmac_h(sum.w2, a.w2, b.w2), odl_vfmac_h(sum.w3, a.w3, b.w3)};
}

static inline odl_vec_f16 odl_vadd_f16(odl_vec_f16 a, odl_vec_f16 b) {
    return (odl_vec_f16){odl_vfadd_h(a.w0, b.w0), odl_vfadd_h(a.w1, b.w1), odl_vfadd_h(a.w2, b.w2),
                         odl_vfadd_h(a.w3, b.w3)};
}

static inline odl_vec_f16 odl_vsub_f16(odl_vec_f16 a, odl_vec_f16 b) {
    return (odl_vec_f16){odl_vfsub_h(a.w0, b.w0), odl_vfsub_h(a.w1, b.w1), odl_vfsub_h(a.w2, b.w2),
                         odl_vfsub_h(a.w3, b.w3)};
}

static inline odl_vec_f16 odl_vmul_f16(odl_vec_f16 a, odl_vec_f16 b) {
    return (odl_vec_f16){odl_vfmul_h(a.w0, b.w0), odl_vfmul_h(a.w1, b.w1), odl_vfmul_h(a.w2, b.w2),
                         odl_vfmul_h(a.w3, b.w3)};
}

static inline float odl_vsum_f16(odl_vec_f16 v) {
    const uint32_t two = odl_vfadd_h(odl_vfadd_h(v.w0, v.w2), odl_vfadd_h(v.w1, v.w3));
    return odl_half_to_float((odl_f16)odl_vfadd_h(two, two >> 16));
}

static inline odl_vec_f16 odl_vload_f16(const odl_f16 *p) {
    odl_vec_f16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void odl_vstore_f16(odl_f16 *p, odl_vec_f16 v) { memcpy(p, &v, sizeof v); }

typedef struct {
    float lane[ODL_LANES_f16];
} odl_wide_f16;

static inline odl_wide_f16 odl_wide_zero_f16(void) { return (odl_wide_f16){{0.0f}}; }

static inline odl_wide_f16 odl_widen_f16(odl_vec_f16 v) {
    odl_f16 halves[ODL_LANES_f16];
    odl_wide_f16 w;
    memcpy(halves, &v, sizeof halves);
    for (uint32_t i = 0; i < ODL_LANES_f16; i++) {
        w.lane[i] = odl_half_to_float(halves[i]);
    }
    return w;
}

static inline odl_wide_f16 odl_wide_add_f16(odl_wide_f16 w, odl_vec_f16 v) {
    const odl_wide_f16 addend = odl_widen_f16(v);
    for (uint32_t i = 0; i < ODL_LANES_f16; i++) {
        w.lane[i] += addend.lane[i];
    }
    return w;
}

static inline odl_vec_f16 odl_narrow_f16(odl_wide_f16 w) {
    odl_f16 halves[ODL_LANES_f16];
    odl_vec_f16 v;
    for (uint32_t i = 0; i < ODL_LANES_f16; i++) {
        halves[i] = odl_float_to_half(w.lane[i]);
    }
    memcpy(&v, halves, sizeof v);
    return v;
}

static inline odl_vec_f16 odl_vmask_f16(odl_vec_f16 v, odl_vec_f16 m, const struct odl_limits *l) {
    odl_f16 values[ODL_LANES_f16], masks[ODL_LANES_f16];
    memcpy(values, &v, sizeof values);
    memcpy(masks, &m, sizeof masks);
    for (uint32_t i = 0; i < ODL_LANES_f16; i++) {
        values[i] = odl_passes(odl_half_to_float(masks[i]), l) ? values[i] : 0;
    }
    memcpy(&v, values, sizeof v);
    return v;
}

static inline odl_vec_f16 odl_vfirst_f16(const odl_f16 *p) { return odl_vload_tail_f16(p, 1); }

static inline void odl_wide_store_f16(float *p, odl_wide_f16 w) { memcpy(p, w.lane, sizeof w.lane); }

#else
#error "ODL_LANES_F16 must be 2 or 8"
#endif

#if ODL_LANES_F32 == 1

#include "f32x1.h"

#elif ODL_LANES_F32 == 4

#define ODL_LANES_f32 4u

typedef struct {
    float l0, l1, l2, l3;
} odl_vec_f32;

static inline odl_vec_f32 odl_vzero_f32(void) { return (odl_vec_f32){0.0f, 0.0f, 0.0f, 0.0f}; }
static inline odl_vec_f32 odl_vdup_f32(const odl_f32 *p) { return (odl_vec_f32){*p, *p, *p, *p}; }

static inline odl_vec_f32 odl_vmac_f32(odl_vec_f32 sum, odl_vec_f32 a, odl_vec_f32 b) {
    return (odl_vec_f32){__builtin_fmaf(a.l0, b.l0, sum.l0), __builtin_fmaf(a.l1, b.l1, sum.l1),
                         __builtin_fmaf(a.l2, b.l2, sum.l2), __builtin_fmaf(a.l3, b.l3, sum.l3)};
}

static inline odl_vec_f32 odl_vadd_f32(odl_vec_f32 a, odl_vec_f32 b) {
    return (odl_vec_f32){a.l0 + b.l0, a.l1 + b.l1, a.l2 + b.l2, a.l3 + b.l3};
}

static inline odl_vec_f32 odl_vsub_f32(odl_vec_f32 a, odl_vec_f32 b) {
    return (odl_vec_f32){a.l0 - b.l0, a.l1 - b.l1, a.l2 - b.l2, a.l3 - b.l3};
}

static inline odl_vec_f32 odl_vmul_f32(odl_vec_f32 a, odl_vec_f32 b) {
    return (odl_vec_f32){a.l0 * b.l0, a.l1 * b.l1, a.l2 * b.l2, a.l3 * b.l3};
}

static inline float odl_vsum_f32(odl_vec_f32 v) { return (v.l0 + v.l2) + (v.l1 + v.l3); }

static inline odl_vec_f32 odl_vload_f32(const odl_f32 *p) {
    odl_vec_f32 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void odl_vstore_f32(odl_f32 *p, odl_vec_f32 v) { memcpy(p, &v, sizeof v); }

static inline odl_vec_f32 odl_vload_tail_f32(const odl_f32 *p, uint32_t n) {
    odl_vec_f32 v = odl_vzero_f32();
    memcpy(&v, p, n * sizeof *p);
    return v;
}

static inline void odl_vstore_tail_f32(odl_f32 *p, odl_vec_f32 v, uint32_t n) {
    memcpy(p, &v, n * sizeof *p);
}

/* A lane of fp32 is wide already. */
typedef odl_vec_f32 odl_wide_f32;

static inline odl_wide_f32 odl_wide_zero_f32(void) { return odl_vzero_f32(); }
static inline odl_wide_f32 odl_widen_f32(odl_vec_f32 v) { return v; }
static inline odl_wide_f32 odl_wide_add_f32(odl_wide_f32 w, odl_vec_f32 v) { return odl_vadd_f32(w, v); }
static inline odl_vec_f32 odl_narrow_f32(odl_wide_f32 w) { return w; }

static inline odl_vec_f32 odl_vmask_f32(odl_vec_f32 v, odl_vec_f32 m, const struct odl_limits *l) {
    return (odl_vec_f32){odl_passes(m.l0, l) ? v.l0 : 0.0f, odl_passes(m.l1, l) ? v.l1 : 0.0f,
                         odl_passes(m.l2, l) ? v.l2 : 0.0f, odl_passes(m.l3, l) ? v.l3 : 0.0f};
}

static inline odl_vec_f32 odl_vfirst_f32(const odl_f32 *p) { return odl_vload_tail_f32(p, 1); }

static inline void odl_wide_store_f32(float *p, odl_wide_f32 w) { odl_vstore_f32(p, w); }

#else
#error "ODL_LANES_F32 must be 1 or 4"
#endif

#endif
