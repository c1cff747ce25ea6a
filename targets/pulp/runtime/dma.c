/* DMA transfers on PULP's mchan (version 7). */
#include "odl_runtime.h"
#include "registers.h"

#define TO_L1 (1u << 17)
#define INCREMENT (1u << 18)
#define STRIDED (1u << 19)
#define EVENT (1u << 20)

static odl_dma_handle start(uint32_t command, const void *l1, const void *l2) {
    const odl_dma_handle handle = ODL_REGISTER(ODL_DMA_COMMAND); /* allocates a counter */
    ODL_REGISTER(ODL_DMA_COMMAND) = command | INCREMENT | EVENT;
    ODL_REGISTER(ODL_DMA_COMMAND) = (uint32_t)(uintptr_t)l1;
    ODL_REGISTER(ODL_DMA_COMMAND) = (uint32_t)(uintptr_t)l2;
    return handle;
}

static odl_dma_handle start_2d(uint32_t command, const void *l1, const void *l2, uint32_t line_bytes,
                               uint32_t stride_bytes) {
    const odl_dma_handle handle = start(command | STRIDED, l1, l2);
    ODL_REGISTER(ODL_DMA_COMMAND) = line_bytes;
    ODL_REGISTER(ODL_DMA_COMMAND) = stride_bytes;
    return handle;
}

odl_dma_handle odl_dma_to_l1(void *l1, const void *l2, uint32_t bytes) {
    return start(bytes | TO_L1, l1, l2);
}

odl_dma_handle odl_dma_to_l2(void *l2, const void *l1, uint32_t bytes) { return start(bytes, l1, l2); }

odl_dma_handle odl_dma_to_l1_2d(void *l1, const void *l2, uint32_t bytes, uint32_t line_bytes,
                                uint32_t stride_bytes) {
    return start_2d(bytes | TO_L1, l1, l2, line_bytes, stride_bytes);
}

odl_dma_handle odl_dma_to_l2_2d(void *l2, const void *l1, uint32_t bytes, uint32_t line_bytes,
                                uint32_t stride_bytes) {
    return start_2d(bytes, l1, l2, line_bytes, stride_bytes);
}

void odl_dma_wait(odl_dma_handle handle) {
    /* An event may be that of another transfer, so the counter decides. One that comes between the look at
     * the counter and the wait is not lost: the event unit keeps it. */
    if ((ODL_REGISTER(ODL_DMA_STATUS) >> handle & 1u) != 0u) {
        ODL_REGISTER(ODL_EVENT_MASK) = ODL_EVENT_DMA;
        do {
            (void)odl_event_load(ODL_EVENT_WAIT_CLEAR);
        } while ((ODL_REGISTER(ODL_DMA_STATUS) >> handle & 1u) != 0u);
        ODL_REGISTER(ODL_EVENT_MASK) = ODL_EVENT_BARRIER;
    }
    ODL_REGISTER(ODL_DMA_STATUS) = 1u << handle;
}
