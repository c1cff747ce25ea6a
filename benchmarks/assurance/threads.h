/* Runtime of the host with threads for cores, as many as $ODL_THREADS says; to drive what several cores do. */
#ifndef ODL_RUNTIME_H
#define ODL_RUNTIME_H

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ODL_L1
#define ODL_L1_DATA

struct odl_core {
    void (*program)(uint32_t core, uint32_t cores);
    uint32_t core, cores;
};

static pthread_barrier_t odl_all;

static inline void odl_barrier(void) { pthread_barrier_wait(&odl_all); }

static inline void *odl_run(void *argument) {
    const struct odl_core *const own = argument;
    own->program(own->core, own->cores);
    return NULL;
}

static inline void odl_parallel(void (*program)(uint32_t core, uint32_t cores)) {
    const uint32_t cores = (uint32_t)atoi(getenv("ODL_THREADS"));
    pthread_t threads[16];
    struct odl_core own[16];
    pthread_barrier_init(&odl_all, NULL, cores);
    for (uint32_t core = 0; core < cores; core++) {
        own[core] = (struct odl_core){program, core, cores};
        pthread_create(&threads[core], NULL, odl_run, &own[core]);
    }
    for (uint32_t core = 0; core < cores; core++) {
        pthread_join(threads[core], NULL);
    }
    pthread_barrier_destroy(&odl_all);
}

#define ODL_DMA_MAX_TRANSFERS 12u

typedef uint32_t odl_dma_handle;

static inline odl_dma_handle odl_dma_to_l1(void *l1, const void *l2, uint32_t bytes) {
    static odl_dma_handle handle;
    memcpy(l1, l2, bytes);
    return handle++ % 16u;
}

static inline odl_dma_handle odl_dma_to_l2(void *l2, const void *l1, uint32_t bytes) {
    return odl_dma_to_l1(l2, l1, bytes);
}

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
