/* Two adjacent outputs, odl_pair_T: what follows dot products, whose sums come one by one.
 *
 *   odl_pair_sums_T(v, w)       the sums of the lanes of two vectors
 *   odl_pair_T_of(a, b)         two floats, rounded to T
 *   odl_pair_load_T(p), odl_pair_store_T(p, pair)
 *   odl_pair_add_T(a, b)        rounded to T
 *   odl_pair_limit_T(pair, l)   clamped
 */
#ifndef ODL_PAIR_H
#define ODL_PAIR_H

#include "value_limits.h"

#define ODL_PAIR_OF_FLOATS(T)                                                                                \
    typedef struct {                                                                                         \
        float a, b;                                                                                          \
    } odl_pair_##T;                                                                                          \
    static inline odl_pair_##T odl_pair_of_##T(float a, float b) { return (odl_pair_##T){a, b}; }            \
    static inline odl_pair_##T odl_pair_sums_##T(odl_vec_##T v, odl_vec_##T w) {                             \
        return (odl_pair_##T){odl_vsum_##T(v), odl_vsum_##T(w)};                                             \
    }                                                                                                        \
    static inline odl_pair_##T odl_pair_load_##T(const odl_##T *p) {                                         \
        return (odl_pair_##T){odl_load_##T(p), odl_load_##T(p + 1)};                                         \
    }                                                                                                        \
    static inline void odl_pair_store_##T(odl_##T *p, odl_pair_##T v) {                                      \
        odl_store_##T(p, v.a);                                                                               \
        odl_store_##T(p + 1, v.b);                                                                           \
    }                                                                                                        \
    static inline odl_pair_##T odl_pair_add_##T(odl_pair_##T v, odl_pair_##T w) {                            \
        return (odl_pair_##T){v.a + w.a, v.b + w.b};                                                         \
    }                                                                                                        \
    static inline odl_pair_##T odl_pair_limit_##T(odl_pair_##T v, const struct odl_limits *l) {              \
        return (odl_pair_##T){odl_limit_f32(v.a, l), odl_limit_f32(v.b, l)};                                 \
    }

ODL_PAIR_OF_FLOATS(f32)

#if defined(ODL_ISA_HOST_FAST)

ODL_PAIR_OF_FLOATS(f16)

#elif defined(ODL_ISA_ZFH) || defined(ODL_ISA_RVV)

/* The others are in standard_half.h. */
static inline odl_pair_f16 odl_pair_sums_f16(odl_vec_f16 v, odl_vec_f16 w) {
    return odl_pair_of_f16(odl_vsum_f16(v), odl_vsum_f16(w));
}

#else

typedef uint32_t odl_pair_f16;

static inline odl_pair_f16 odl_pair_of_f16(float a, float b) { return odl_vfcpka_h_s(a, b); }

static inline odl_pair_f16 odl_pair_sums_f16(odl_vec_f16 v, odl_vec_f16 w) {
#if ODL_LANES_f16 == 2
    return odl_vfadd_h(odl_pack_low(v, w), odl_pack_high(v, w));
#else
    return odl_vfcpka_h_s(odl_vsum_f16(v), odl_vsum_f16(w));
#endif
}

#if defined(__riscv)
static inline odl_pair_f16 odl_pair_load_f16(const odl_f16 *p) { return *(const uint32_t *)(const void *)p; }
static inline void odl_pair_store_f16(odl_f16 *p, odl_pair_f16 v) { *(uint32_t *)(void *)p = v; }
#else
static inline odl_pair_f16 odl_pair_load_f16(const odl_f16 *p) {
    odl_pair_f16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void odl_pair_store_f16(odl_f16 *p, odl_pair_f16 v) { memcpy(p, &v, sizeof v); }
#endif

static inline odl_pair_f16 odl_pair_add_f16(odl_pair_f16 v, odl_pair_f16 w) { return odl_vfadd_h(v, w); }

ODL_RARELY odl_pair_f16 odl_pair_by_limits_f16(odl_pair_f16 v, const struct odl_limits *l) {
    return odl_vfcpka_h_s(odl_limited(odl_half_to_float((odl_f16)v), l),
                          odl_limited(odl_half_to_float((odl_f16)(v >> 16)), l));
}

static inline odl_pair_f16 odl_pair_limit_f16(odl_pair_f16 v, const struct odl_limits *l) {
    return ODL_LIKELY(l->plain) ? odl_max_h(v, l->floor) : odl_pair_by_limits_f16(v, l);
}

#endif

#endif
