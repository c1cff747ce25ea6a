/* Runtime of the host: one core, which needs nobody to wait for, and one memory. */
#ifndef ODL_RUNTIME_H
#define ODL_RUNTIME_H

#include <stdint.h>
#include <string.h>

/* Variables in the memory beside the cores: here memory like any other. */
#define ODL_L1
#define ODL_L1_DATA

/* Waits until every core has arrived. */
static inline void odl_barrier(void) {}

/* Runs a program on every core and returns when all have finished. */
static inline void odl_parallel(void (*program)(uint32_t core, uint32_t cores)) { program(0, 1); }

/* Transfers are copies, complete when they start. */
#define ODL_DMA_MAX_TRANSFERS 12u

typedef uint32_t odl_dma_handle;

static inline odl_dma_handle odl_dma_to_l1(void *l1, const void *l2, uint32_t bytes) {
    memcpy(l1, l2, bytes);
    return 0;
}

static inline odl_dma_handle odl_dma_to_l2(void *l2, const void *l1, uint32_t bytes) {
    memcpy(l2, l1, bytes);
    return 0;
}

/* Lines of `line_bytes`, dense in L1, `stride_bytes` apart in L2; `bytes` is the total. */
static inline odl_dma_handle odl_dma_to_l1_2d(void *l1, const void *l2, uint32_t bytes, uint32_t line_bytes,
                                              uint32_t stride_bytes) {
    for (uint32_t done = 0, from = 0; done < bytes; done += line_bytes, from += stride_bytes) {
        memcpy((uint8_t *)l1 + done, (const uint8_t *)l2 + from, line_bytes);
    }
    return 0;
}

static inline odl_dma_handle odl_dma_to_l2_2d(void *l2, const void *l1, uint32_t bytes, uint32_t line_bytes,
                                              uint32_t stride_bytes) {
    for (uint32_t done = 0, to = 0; done < bytes; done += line_bytes, to += stride_bytes) {
        memcpy((uint8_t *)l2 + to, (const uint8_t *)l1 + done, line_bytes);
    }
    return 0;
}

static inline void odl_dma_wait(odl_dma_handle handle) { (void)handle; }

#endif
