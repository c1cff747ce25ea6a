/* Dialect ODL_ISA_RVV: RISC-V's vector extension with fp16 arithmetic (Zvfh), 8 halves or 4 floats at a time.
 *
 * Every instruction names the number of its elements, so the code runs, with the same bits, wherever a vector
 * register has at least 128 bits: host_exact.h with ODL_LANES_F16 = 8 and ODL_LANES_F32 = 4. Lanes that no
 * result needs take part in no addition, where they could raise a flag.
 */
#ifndef ODL_RVV_H
#define ODL_RVV_H

#include <riscv_vector.h>

#include "overflow.h"
#include "standard_half.h"
#include "value_limits.h"

/* ---- fp16 */

#define ODL_LANES_f16 8u

typedef vfloat16m1_t odl_vec_f16;

static inline odl_vec_f16 odl_vzero_f16(void) { return __riscv_vfmv_v_f_f16m1(0, ODL_LANES_f16); }

static inline odl_vec_f16 odl_vdup_f16(const odl_f16 *p) {
    return __riscv_vfmv_v_f_f16m1(odl_standard_half(p)[0], ODL_LANES_f16);
}

static inline odl_vec_f16 odl_vload_f16(const odl_f16 *p) {
    return __riscv_vle16_v_f16m1(odl_standard_half(p), ODL_LANES_f16);
}

static inline odl_vec_f16 odl_vload_tail_f16(const odl_f16 *p, uint32_t n) {
    return __riscv_vle16_v_f16m1_tu(odl_vzero_f16(), odl_standard_half(p), n);
}

static inline odl_vec_f16 odl_vfirst_f16(const odl_f16 *p) {
    return __riscv_vfmv_s_f_f16m1_tu(odl_vzero_f16(), odl_standard_half(p)[0], 1);
}

static inline void odl_vstore_tail_f16(odl_f16 *p, odl_vec_f16 v, uint32_t n) {
    __riscv_vse16_v_f16m1((_Float16 *)(void *)p, v, n);
}

static inline void odl_vstore_f16(odl_f16 *p, odl_vec_f16 v) { odl_vstore_tail_f16(p, v, ODL_LANES_f16); }

static inline odl_vec_f16 odl_vmac_f16(odl_vec_f16 sum, odl_vec_f16 a, odl_vec_f16 b) {
    return __riscv_vfmacc_vv_f16m1(sum, a, b, ODL_LANES_f16);
}

static inline odl_vec_f16 odl_vadd_f16(odl_vec_f16 a, odl_vec_f16 b) {
    return __riscv_vfadd_vv_f16m1(a, b, ODL_LANES_f16);
}

static inline odl_vec_f16 odl_vsub_f16(odl_vec_f16 a, odl_vec_f16 b) {
    return __riscv_vfsub_vv_f16m1(a, b, ODL_LANES_f16);
}

static inline odl_vec_f16 odl_vmul_f16(odl_vec_f16 a, odl_vec_f16 b) {
    return __riscv_vfmul_vv_f16m1(a, b, ODL_LANES_f16);
}

static inline float odl_vsum_f16(odl_vec_f16 v) {
    v = __riscv_vfadd_vv_f16m1(v, __riscv_vslidedown_vx_f16m1(v, 4, 4), 4);
    v = __riscv_vfadd_vv_f16m1(v, __riscv_vslidedown_vx_f16m1(v, 2, 2), 2);
    v = __riscv_vfadd_vv_f16m1(v, __riscv_vslidedown_vx_f16m1(v, 1, 1), 1);
    return (float)__riscv_vfmv_f_s_f16m1_f16(v);
}

/* In memory: vectors have no size that a compiler knows, and kernels keep arrays of these. */
typedef struct {
    float lane[ODL_LANES_f16];
} odl_wide_f16;

static inline odl_wide_f16 odl_wide_of(vfloat32m2_t v) {
    odl_wide_f16 w;
    __riscv_vse32_v_f32m2(w.lane, v, ODL_LANES_f16);
    return w;
}

static inline odl_wide_f16 odl_wide_zero_f16(void) { return (odl_wide_f16){{0.0f}}; }

static inline odl_wide_f16 odl_widen_f16(odl_vec_f16 v) {
    return odl_wide_of(__riscv_vfwcvt_f_f_v_f32m2(v, ODL_LANES_f16));
}

static inline odl_wide_f16 odl_wide_add_f16(odl_wide_f16 w, odl_vec_f16 v) {
    const vfloat32m2_t sum = __riscv_vle32_v_f32m2(w.lane, ODL_LANES_f16);
    return odl_wide_of(__riscv_vfwadd_wv_f32m2(sum, v, ODL_LANES_f16));
}

static inline odl_vec_f16 odl_narrow_f16(odl_wide_f16 w) {
    return __riscv_vfncvt_f_f_w_f16m1(__riscv_vle32_v_f32m2(w.lane, ODL_LANES_f16), ODL_LANES_f16);
}

static inline void odl_wide_store_f16(float *p, odl_wide_f16 w) {
    __riscv_vse32_v_f32m2(p, __riscv_vle32_v_f32m2(w.lane, ODL_LANES_f16), ODL_LANES_f16);
}

ODL_RARELY odl_vec_f16 odl_mask_by_limits_f16(odl_vec_f16 v, odl_vec_f16 m, const struct odl_limits *l) {
    odl_f16 values[ODL_LANES_f16], masks[ODL_LANES_f16];
    odl_vstore_f16(values, v);
    odl_vstore_f16(masks, m);
    for (uint32_t i = 0; i < ODL_LANES_f16; i++) {
        values[i] = odl_passes(odl_half_to_float(masks[i]), l) ? values[i] : 0;
    }
    return odl_vload_f16(values);
}

static inline odl_vec_f16 odl_vmask_f16(odl_vec_f16 v, odl_vec_f16 m, const struct odl_limits *l) {
    if (!l->plain) {
        return odl_mask_by_limits_f16(v, m, l);
    }
    if (l->floor != 0u) {
        return v;
    }
    /* As integers: the canonical NaN is a positive one. */
    const vint16m1_t bits = __riscv_vreinterpret_v_f16m1_i16m1(m);
    const vbool16_t passes = __riscv_vmsgt_vx_i16m1_b16(bits, 0, ODL_LANES_f16);
    return __riscv_vmerge_vvm_f16m1(odl_vzero_f16(), v, passes, ODL_LANES_f16);
}

/* ---- fp32 */

#define ODL_LANES_f32 4u

typedef vfloat32m1_t odl_vec_f32;

static inline odl_vec_f32 odl_vzero_f32(void) { return __riscv_vfmv_v_f_f32m1(0, ODL_LANES_f32); }

static inline odl_vec_f32 odl_vdup_f32(const odl_f32 *p) { return __riscv_vfmv_v_f_f32m1(*p, ODL_LANES_f32); }

static inline odl_vec_f32 odl_vload_f32(const odl_f32 *p) { return __riscv_vle32_v_f32m1(p, ODL_LANES_f32); }

static inline odl_vec_f32 odl_vload_tail_f32(const odl_f32 *p, uint32_t n) {
    return __riscv_vle32_v_f32m1_tu(odl_vzero_f32(), p, n);
}

static inline odl_vec_f32 odl_vfirst_f32(const odl_f32 *p) {
    return __riscv_vfmv_s_f_f32m1_tu(odl_vzero_f32(), *p, 1);
}

static inline void odl_vstore_tail_f32(odl_f32 *p, odl_vec_f32 v, uint32_t n) {
    __riscv_vse32_v_f32m1(p, v, n);
}

static inline void odl_vstore_f32(odl_f32 *p, odl_vec_f32 v) { odl_vstore_tail_f32(p, v, ODL_LANES_f32); }

static inline odl_vec_f32 odl_vmac_f32(odl_vec_f32 sum, odl_vec_f32 a, odl_vec_f32 b) {
    return __riscv_vfmacc_vv_f32m1(sum, a, b, ODL_LANES_f32);
}

static inline odl_vec_f32 odl_vadd_f32(odl_vec_f32 a, odl_vec_f32 b) {
    return __riscv_vfadd_vv_f32m1(a, b, ODL_LANES_f32);
}

static inline odl_vec_f32 odl_vsub_f32(odl_vec_f32 a, odl_vec_f32 b) {
    return __riscv_vfsub_vv_f32m1(a, b, ODL_LANES_f32);
}

static inline odl_vec_f32 odl_vmul_f32(odl_vec_f32 a, odl_vec_f32 b) {
    return __riscv_vfmul_vv_f32m1(a, b, ODL_LANES_f32);
}

static inline float odl_vsum_f32(odl_vec_f32 v) {
    v = __riscv_vfadd_vv_f32m1(v, __riscv_vslidedown_vx_f32m1(v, 2, 2), 2);
    v = __riscv_vfadd_vv_f32m1(v, __riscv_vslidedown_vx_f32m1(v, 1, 1), 1);
    return __riscv_vfmv_f_s_f32m1_f32(v);
}

/* A lane of fp32 is wide already. */
typedef odl_vec_f32 odl_wide_f32;

static inline odl_wide_f32 odl_wide_zero_f32(void) { return odl_vzero_f32(); }
static inline odl_wide_f32 odl_widen_f32(odl_vec_f32 v) { return v; }
static inline odl_wide_f32 odl_wide_add_f32(odl_wide_f32 w, odl_vec_f32 v) { return odl_vadd_f32(w, v); }
static inline odl_vec_f32 odl_narrow_f32(odl_wide_f32 w) { return w; }
static inline void odl_wide_store_f32(float *p, odl_wide_f32 w) { odl_vstore_f32(p, w); }

ODL_RARELY odl_vec_f32 odl_mask_by_limits_f32(odl_vec_f32 v, odl_vec_f32 m, const struct odl_limits *l) {
    float values[ODL_LANES_f32], masks[ODL_LANES_f32];
    odl_vstore_f32(values, v);
    odl_vstore_f32(masks, m);
    for (uint32_t i = 0; i < ODL_LANES_f32; i++) {
        values[i] = odl_passes(masks[i], l) ? values[i] : 0.0f;
    }
    return odl_vload_f32(values);
}

static inline odl_vec_f32 odl_vmask_f32(odl_vec_f32 v, odl_vec_f32 m, const struct odl_limits *l) {
    if (!l->plain) {
        return odl_mask_by_limits_f32(v, m, l);
    }
    if (l->floor != 0u) {
        return v;
    }
    const vint32m1_t bits = __riscv_vreinterpret_v_f32m1_i32m1(m);
    const vbool32_t passes = __riscv_vmsgt_vx_i32m1_b32(bits, 0, ODL_LANES_f32);
    return __riscv_vmerge_vvm_f32m1(odl_vzero_f32(), v, passes, ODL_LANES_f32);
}

#endif
