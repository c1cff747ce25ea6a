/* Runtime of the host: one core, which needs nobody to wait for. */
#ifndef ODL_RUNTIME_H
#define ODL_RUNTIME_H

#include <stdint.h>

/* Waits until every core has arrived. */
static inline void odl_barrier(void) {}

/* Runs a program on every core and returns when all have finished. */
static inline void odl_parallel(void (*program)(uint32_t core, uint32_t cores)) { program(0, 1); }

#endif
