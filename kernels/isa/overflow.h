/* Sticky floating-point exceptions on a host. */
#ifndef ODL_OVERFLOW_H
#define ODL_OVERFLOW_H

#include <fenv.h>
#include <stdbool.h>

static inline void odl_overflow_clear(void) { feclearexcept(FE_OVERFLOW | FE_INVALID | FE_DIVBYZERO); }

static inline bool odl_overflow_seen(void) {
    return fetestexcept(FE_OVERFLOW | FE_INVALID | FE_DIVBYZERO) != 0;
}

#endif
