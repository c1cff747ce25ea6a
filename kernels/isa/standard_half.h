/* Halves in floating-point registers: standard RISC-V with scalar fp16 arithmetic (Zfh), which every core
 * with Zvfh has too. Includes the pairs of pair.h in fp16. */
#ifndef ODL_STANDARD_HALF_H
#define ODL_STANDARD_HALF_H

#include "half.h"
#include "value_limits.h"

/* The same halves as the compiler's own type. */
static inline const _Float16 *odl_standard_half(const odl_f16 *p) {
    return (const _Float16 *)(const void *)p;
}

typedef struct {
    _Float16 a, b;
} odl_pair_f16;

static inline odl_pair_f16 odl_pair_of_f16(float a, float b) {
    return (odl_pair_f16){(_Float16)a, (_Float16)b};
}

static inline odl_pair_f16 odl_pair_load_f16(const odl_f16 *p) {
    return (odl_pair_f16){odl_standard_half(p)[0], odl_standard_half(p)[1]};
}

static inline void odl_pair_store_f16(odl_f16 *p, odl_pair_f16 v) {
    _Float16 *const halves = (_Float16 *)(void *)p;
    halves[0] = v.a;
    halves[1] = v.b;
}

static inline odl_pair_f16 odl_pair_add_f16(odl_pair_f16 v, odl_pair_f16 w) {
    return (odl_pair_f16){v.a + w.a, v.b + w.b};
}

/* As integers where the limits allow it: the canonical NaN is a positive one. */
static inline _Float16 odl_limit_half(_Float16 v, const struct odl_limits *l) {
    if (!l->plain) {
        return (_Float16)odl_limited((float)v, l);
    }
    int16_t bits;
    const int16_t floor = (int16_t)(l->floor & 0xffffu);
    __builtin_memcpy(&bits, &v, sizeof bits);
    bits = bits > floor ? bits : floor;
    __builtin_memcpy(&v, &bits, sizeof v);
    return v;
}

static inline odl_pair_f16 odl_pair_limit_f16(odl_pair_f16 v, const struct odl_limits *l) {
    return (odl_pair_f16){odl_limit_half(v.a, l), odl_limit_half(v.b, l)};
}

#endif
