/* The two limits of a clamping activation: y = clamp(v, low, high), and where its gradient passes. */
#ifndef ODL_VALUE_LIMITS_H
#define ODL_VALUE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* For the rare case: out of the way of what usually happens. */
#define ODL_RARELY static __attribute__((noinline, cold, unused))
#define ODL_LIKELY(condition) __builtin_expect((condition) ? 1 : 0, 1)

struct odl_limits {
    float low, high;
    bool plain; /* no upper limit, and the lower one is 0 or none: then integer instructions can clamp ... */
    uint32_t
        floor; /* ... two halves to the larger of v and this, as signed integers: 0, or below everything */
};

static inline struct odl_limits odl_limits(float low, float high) {
    const bool unbounded = high > 0x1.fffffep+127f;
    const bool none = low < -0x1.fffffep+127f;
    const struct odl_limits limits = {low, high, unbounded && (none || low == 0.0f), none ? 0x80008000u : 0u};
    return limits;
}

/* v within the limits; NaN stays NaN; at the lower limit the result is `low` itself, so -0 becomes 0. */
static inline float odl_limited(float v, const struct odl_limits *l) {
    return v <= l->low ? l->low : v >= l->high ? l->high : v;
}

/* The same, in integer instructions where the canonical NaN is the only one. */
static inline float odl_limit_f32(float v, const struct odl_limits *l) {
#if defined(__riscv)
    if (ODL_LIKELY(l->plain)) {
        int32_t bits;
        const int32_t floor = (int32_t)(l->floor & 0x80000000u);
        __builtin_memcpy(&bits, &v, sizeof bits);
        bits = bits > floor ? bits : floor;
        __builtin_memcpy(&v, &bits, sizeof v);
        return v;
    }
#endif
    return odl_limited(v, l);
}

/* Whether the gradient passes where the activation gave m. An infinite limit is none. */
static inline bool odl_passes(float m, const struct odl_limits *l) {
    const bool below = m <= l->low && l->low >= -0x1.fffffep+127f;
    const bool above = m >= l->high && l->high <= 0x1.fffffep+127f;
    return !below && !above;
}

#endif
