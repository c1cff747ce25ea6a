/* What elementwise kernels and sums over pixels need beside dot products: fp32 arithmetic, a float per lane.
 *
 * odl_wide_T has a float for every lane of a vector of T:
 *   odl_wide_dup_T(x), odl_wide_load_T(p)
 *   odl_wide_plus_T(a, b), odl_wide_minus_T(a, b), odl_wide_times_T(a, b), odl_wide_over_T(a, b)
 *   odl_wide_fma_T(a, b, c)              a * b + c, fused: one rounding
 *   odl_wide_root_T(a)                   square root
 *   odl_wide_accumulate_T(w, v)          w + v, the lanes of a vector
 *   odl_vlimit_T(v, limits)              lanes of a vector clamped
 * Elements of storage type X as lanes of a vector of V, X being V or fp32; n elements where they are a tail:
 *   odl_get_V_X(p), odl_get_tail_V_X(p, n), odl_put_V_X(p, w), odl_put_tail_V_X(p, w, n)
 *   odl_get_lanes_V_X(p, n), odl_put_lanes_V_X(p, w, n)   n elements, perhaps all lanes
 */
#ifndef ODL_LANES_H
#define ODL_LANES_H

#include "odl_isa.h"

#if defined(ODL_ISA_HOST_FAST)

#define ODL_LANEWISE_f16(LANE) LANE()
#define ODL_LANEWISE_f32(LANE) LANE()

static inline odl_vec_f32 odl_fast_fma(odl_vec_f32 a, odl_vec_f32 b, odl_vec_f32 c) { return a * b + c; }

static inline odl_vec_f32 odl_fast_root(odl_vec_f32 v) {
    odl_vec_f32 root;
    for (uint32_t i = 0; i < ODL_LANES_F32; i++) {
        root[i] = __builtin_sqrtf(v[i]);
    }
    return root;
}

static inline odl_vec_f32 odl_fast_limit(odl_vec_f32 v, const struct odl_limits *l) {
    const odl_lanes_i32 below = v <= l->low, above = v >= l->high;
    const odl_vec_f32 low = odl_vzero_f32() + l->low, high = odl_vzero_f32() + l->high;
    return (odl_vec_f32)((below & (odl_lanes_i32)low) | (above & ~below & (odl_lanes_i32)high) |
                         (~above & ~below & (odl_lanes_i32)v));
}

#define ODL_LANE_DUP() (odl_vzero_f32() + x)
#define ODL_LANE_FMA() odl_fast_fma(a, b, c)
#define ODL_LANE_ROOT() odl_fast_root(a)

static inline odl_vec_f32 odl_wide_load_f32(const float *p) { return odl_vload_f32(p); }
static inline odl_vec_f32 odl_wide_load_f16(const float *p) { return odl_vload_f32(p); }
static inline odl_vec_f32 odl_wide_accumulate_f32(odl_vec_f32 w, odl_vec_f32 v) { return w + v; }
static inline odl_vec_f32 odl_wide_accumulate_f16(odl_vec_f32 w, odl_vec_f16 v) { return w + v; }

static inline odl_vec_f32 odl_vlimit_f32(odl_vec_f32 v, const struct odl_limits *l) {
    return odl_fast_limit(v, l);
}

static inline odl_vec_f16 odl_vlimit_f16(odl_vec_f16 v, const struct odl_limits *l) {
    return odl_fast_limit(v, l);
}

#else

/* The lanes of a result, each an expression LANE of the same lanes of the operands. */
#if ODL_LANES_f16 == 2
#define ODL_LANEWISE_f16(LANE) ((odl_wide_f16){LANE(.low), LANE(.high)})
#else
#define ODL_LANEWISE_f16(LANE)                                                                               \
    ((odl_wide_f16){{LANE(.lane[0]), LANE(.lane[1]), LANE(.lane[2]), LANE(.lane[3]), LANE(.lane[4]),         \
                     LANE(.lane[5]), LANE(.lane[6]), LANE(.lane[7])}})
#endif
#if ODL_LANES_f32 == 1
#define ODL_LANEWISE_f32(LANE) LANE()
#elif !defined(ODL_ISA_RVV)
#define ODL_LANEWISE_f32(LANE) ((odl_wide_f32){LANE(.l0), LANE(.l1), LANE(.l2), LANE(.l3)})
#endif

#define ODL_LANE_DUP(lane) (x)
#define ODL_LANE_FMA(lane) __builtin_fmaf(a lane, b lane, c lane)
#define ODL_LANE_ROOT(lane) __builtin_sqrtf(a lane)

#if ODL_LANES_f16 == 2
static inline odl_wide_f16 odl_wide_load_f16(const float *p) { return (odl_wide_f16){p[0], p[1]}; }
#else
static inline odl_wide_f16 odl_wide_load_f16(const float *p) {
    odl_wide_f16 w;
    memcpy(&w, p, sizeof w);
    return w;
}
#endif
static inline odl_wide_f32 odl_wide_load_f32(const float *p) { return odl_widen_f32(odl_vload_f32(p)); }

static inline odl_wide_f32 odl_wide_accumulate_f32(odl_wide_f32 w, odl_vec_f32 v) {
    return odl_wide_add_f32(w, v);
}

#if defined(ODL_PACKED_ASM)
/* fmacex.s.h by 1: a half is widened and added in one instruction. */
static inline odl_wide_f16 odl_wide_accumulate_f16(odl_wide_f16 w, odl_vec_f16 v) {
    const uint32_t one = 0x3c00;
    __asm__(".insn r 0x53, 0, 0x2a, %0, %1, %2" : "+r"(w.low) : "r"(v), "r"(one));
    __asm__(".insn r 0x53, 0, 0x2a, %0, %1, %2" : "+r"(w.high) : "r"(v >> 16), "r"(one));
    return w;
}
#else
static inline odl_wide_f16 odl_wide_accumulate_f16(odl_wide_f16 w, odl_vec_f16 v) {
    return odl_wide_add_f16(w, v);
}
#endif

#if defined(ODL_ISA_RVV)

ODL_RARELY odl_vec_f32 odl_by_limits_f32(odl_vec_f32 v, const struct odl_limits *l) {
    float lane[ODL_LANES_f32];
    odl_vstore_f32(lane, v);
    for (uint32_t i = 0; i < ODL_LANES_f32; i++) {
        lane[i] = odl_limited(lane[i], l);
    }
    return odl_vload_f32(lane);
}

/* As integers where the limits allow it: the canonical NaN is a positive one. */
static inline odl_vec_f32 odl_vlimit_f32(odl_vec_f32 v, const struct odl_limits *l) {
    if (!l->plain) {
        return odl_by_limits_f32(v, l);
    }
    const int32_t floor = (int32_t)(l->floor & 0x80000000u);
    const vint32m1_t bits = __riscv_vreinterpret_v_f32m1_i32m1(v);
    return __riscv_vreinterpret_v_i32m1_f32m1(__riscv_vmax_vx_i32m1(bits, floor, ODL_LANES_f32));
}

ODL_RARELY odl_vec_f16 odl_by_limits_f16(odl_vec_f16 v, const struct odl_limits *l) {
    odl_f16 lane[ODL_LANES_f16];
    odl_vstore_f16(lane, v);
    for (uint32_t i = 0; i < ODL_LANES_f16; i++) {
        odl_store_f16(lane + i, odl_limited(odl_load_f16(lane + i), l));
    }
    return odl_vload_f16(lane);
}

static inline odl_vec_f16 odl_vlimit_f16(odl_vec_f16 v, const struct odl_limits *l) {
    if (!l->plain) {
        return odl_by_limits_f16(v, l);
    }
    const vint16m1_t bits = __riscv_vreinterpret_v_f16m1_i16m1(v);
    const int16_t floor = (int16_t)(l->floor & 0xffffu);
    return __riscv_vreinterpret_v_i16m1_f16m1(__riscv_vmax_vx_i16m1(bits, floor, ODL_LANES_f16));
}

#else

#if ODL_LANES_f32 == 1
static inline odl_vec_f32 odl_vlimit_f32(odl_vec_f32 v, const struct odl_limits *l) {
    return odl_limit_f32(v, l);
}
#else
static inline odl_vec_f32 odl_vlimit_f32(odl_vec_f32 v, const struct odl_limits *l) {
    return (odl_vec_f32){odl_limit_f32(v.l0, l), odl_limit_f32(v.l1, l), odl_limit_f32(v.l2, l),
                         odl_limit_f32(v.l3, l)};
}
#endif

#if defined(ODL_ISA_ZFH)
static inline odl_vec_f16 odl_vlimit_f16(odl_vec_f16 v, const struct odl_limits *l) {
    return (odl_vec_f16){odl_limit_half(v.low, l), odl_limit_half(v.high, l)};
}
#elif ODL_LANES_f16 == 2
static inline odl_vec_f16 odl_vlimit_f16(odl_vec_f16 v, const struct odl_limits *l) {
    return odl_pair_limit_f16(v, l);
}
#else
static inline odl_vec_f16 odl_vlimit_f16(odl_vec_f16 v, const struct odl_limits *l) {
    return (odl_vec_f16){odl_pair_limit_f16(v.w0, l), odl_pair_limit_f16(v.w1, l),
                         odl_pair_limit_f16(v.w2, l), odl_pair_limit_f16(v.w3, l)};
}
#endif

#endif

#endif

#define ODL_LANE_PLUS(lane) (a lane + b lane)
#define ODL_LANE_MINUS(lane) (a lane - b lane)
#define ODL_LANE_TIMES(lane) (a lane * b lane)
#define ODL_LANE_OVER(lane) (a lane / b lane)

#define ODL_WIDE_ARITHMETIC(T)                                                                               \
    static inline odl_wide_##T odl_wide_dup_##T(float x) { return ODL_LANEWISE_##T(ODL_LANE_DUP); }          \
    static inline odl_wide_##T odl_wide_plus_##T(odl_wide_##T a, odl_wide_##T b) {                           \
        return ODL_LANEWISE_##T(ODL_LANE_PLUS);                                                              \
    }                                                                                                        \
    static inline odl_wide_##T odl_wide_minus_##T(odl_wide_##T a, odl_wide_##T b) {                          \
        return ODL_LANEWISE_##T(ODL_LANE_MINUS);                                                             \
    }                                                                                                        \
    static inline odl_wide_##T odl_wide_times_##T(odl_wide_##T a, odl_wide_##T b) {                          \
        return ODL_LANEWISE_##T(ODL_LANE_TIMES);                                                             \
    }                                                                                                        \
    static inline odl_wide_##T odl_wide_over_##T(odl_wide_##T a, odl_wide_##T b) {                           \
        return ODL_LANEWISE_##T(ODL_LANE_OVER);                                                              \
    }                                                                                                        \
    static inline odl_wide_##T odl_wide_fma_##T(odl_wide_##T a, odl_wide_##T b, odl_wide_##T c) {            \
        return ODL_LANEWISE_##T(ODL_LANE_FMA);                                                               \
    }                                                                                                        \
    static inline odl_wide_##T odl_wide_root_##T(odl_wide_##T a) { return ODL_LANEWISE_##T(ODL_LANE_ROOT); }

ODL_WIDE_ARITHMETIC(f16)

#if defined(ODL_ISA_RVV)

static inline odl_wide_f32 odl_wide_dup_f32(float x) { return odl_vdup_f32(&x); }

static inline odl_wide_f32 odl_wide_plus_f32(odl_wide_f32 a, odl_wide_f32 b) { return odl_vadd_f32(a, b); }

static inline odl_wide_f32 odl_wide_minus_f32(odl_wide_f32 a, odl_wide_f32 b) { return odl_vsub_f32(a, b); }

static inline odl_wide_f32 odl_wide_times_f32(odl_wide_f32 a, odl_wide_f32 b) { return odl_vmul_f32(a, b); }

static inline odl_wide_f32 odl_wide_over_f32(odl_wide_f32 a, odl_wide_f32 b) {
    return __riscv_vfdiv_vv_f32m1(a, b, ODL_LANES_f32);
}

static inline odl_wide_f32 odl_wide_fma_f32(odl_wide_f32 a, odl_wide_f32 b, odl_wide_f32 c) {
    return odl_vmac_f32(c, a, b);
}

static inline odl_wide_f32 odl_wide_root_f32(odl_wide_f32 a) {
    return __riscv_vfsqrt_v_f32m1(a, ODL_LANES_f32);
}

#else

ODL_WIDE_ARITHMETIC(f32)

#endif

static inline odl_wide_f16 odl_get_f16_f16(const odl_f16 *p) { return odl_widen_f16(odl_vload_f16(p)); }
static inline odl_wide_f16 odl_get_f16_f32(const odl_f32 *p) { return odl_wide_load_f16(p); }
static inline odl_wide_f32 odl_get_f32_f32(const odl_f32 *p) { return odl_wide_load_f32(p); }

static inline void odl_put_f16_f16(odl_f16 *p, odl_wide_f16 w) { odl_vstore_f16(p, odl_narrow_f16(w)); }
static inline void odl_put_f16_f32(odl_f32 *p, odl_wide_f16 w) { odl_wide_store_f16(p, w); }
static inline void odl_put_f32_f32(odl_f32 *p, odl_wide_f32 w) { odl_wide_store_f32(p, w); }

/* A tail goes through an array of floats. */
#define ODL_WIDE_STORAGE(V, X)                                                                               \
    static inline odl_wide_##V odl_get_tail_##V##_##X(const odl_##X *p, uint32_t n) {                        \
        float lane[ODL_MAX_LANES] = {0.0f};                                                                  \
        for (uint32_t i = 0; i < n; i++) {                                                                   \
            lane[i] = odl_load_##X(p + i);                                                                   \
        }                                                                                                    \
        return odl_wide_load_##V(lane);                                                                      \
    }                                                                                                        \
    static inline void odl_put_tail_##V##_##X(odl_##X *p, odl_wide_##V w, uint32_t n) {                      \
        float lane[ODL_LANES_##V];                                                                           \
        odl_wide_store_##V(lane, w);                                                                         \
        for (uint32_t i = 0; i < n; i++) {                                                                   \
            odl_store_##X(p + i, lane[i]);                                                                   \
        }                                                                                                    \
    }                                                                                                        \
    static inline odl_wide_##V odl_get_lanes_##V##_##X(const odl_##X *p, uint32_t n) {                       \
        return n == ODL_LANES_##V ? odl_get_##V##_##X(p) : odl_get_tail_##V##_##X(p, n);                     \
    }                                                                                                        \
    static inline void odl_put_lanes_##V##_##X(odl_##X *p, odl_wide_##V w, uint32_t n) {                     \
        if (n == ODL_LANES_##V) {                                                                            \
            odl_put_##V##_##X(p, w);                                                                         \
        } else {                                                                                             \
            odl_put_tail_##V##_##X(p, w, n);                                                                 \
        }                                                                                                    \
    }

ODL_WIDE_STORAGE(f16, f16)
ODL_WIDE_STORAGE(f16, f32)
ODL_WIDE_STORAGE(f32, f32)

/* Keeps a loop over pixels in a function of its own: inlined, it would share registers with its caller. */
#define ODL_APART __attribute__((noinline))

/* Keeps what seldom happens out of the way of what usually does: a core's instruction cache is small. */
#define ODL_UNLIKELY(condition) __builtin_expect((condition), 0)

#if defined(ODL_ISA_XCV)

/* Text of instructions for blocks of assembly, beside packed_asm.h; each is one word. */
#define ODL_LANES_ASM
#define ODL_ASM_SW_BY(rs, p, step) "cv.sw " rs ", (" p "), " step "\n"
#define ODL_ASM_MOVE(rd, a) "mv " rd ", " a "\n"
#define ODL_ASM_HIGH(rd, a) "srli " rd ", " a ", 16\n"
#define ODL_ASM_AND(rd, a, b) "and " rd ", " a ", " b "\n"
#define ODL_ASM_WIDEN(rd, a) "fcvt.s.h " rd ", " a "\n"
#define ODL_ASM_SUB_f32(rd, a, b) "fsub.s " rd ", " a ", " b "\n"
#define ODL_ASM_MUL_f32(rd, a, b) "fmul.s " rd ", " a ", " b "\n"
#define ODL_ASM_FMA_f32(rd, a, b, c) "fmadd.s " rd ", " a ", " b ", " c "\n"
#define ODL_ASM_ADD_f16(rd, a, b) ODL_ASM_VFADD_H(rd, a, b)
#define ODL_ASM_ADD_f32(rd, a, b) "fadd.s " rd ", " a ", " b "\n"
/* Clamp as struct odl_limits says where its limits are plain. */
#define ODL_ASM_LIMIT_f32(rd, a, floor) "cv.max " rd ", " a ", " floor "\n"
/* All ones where an output of ReLU is above 0, else zeros. */
#define ODL_ASM_ABOVE_f16(rd, a) "cv.cmpgt.h " rd ", " a ", x0\n"
/* The same for floats takes two instructions: 1 or 0, then its negative. */
#define ODL_ASM_POSITIVE(rd, a) "slt " rd ", x0, " a "\n"
#define ODL_ASM_NEGATIVE(rd, a) "neg " rd ", " a "\n"

#endif

#endif
