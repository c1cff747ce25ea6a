/* A minimal port of an exported network: three threads of the host are the cores, transfers are copies. */
#define _POSIX_C_SOURCE 200112L
#include "odl_runtime.h"

#include <pthread.h>
#include <time.h>

#define CORES 3u

static pthread_barrier_t barrier;
static _Thread_local uint32_t own_core;
static void (*parallel_program)(uint32_t core, uint32_t cores);

uint32_t odl_core_id(void) { return own_core; }
uint32_t odl_core_count(void) { return CORES; }
void odl_barrier(void) { pthread_barrier_wait(&barrier); }

static void *run_core(void *number) {
    own_core = (uint32_t)(uintptr_t)number;
    parallel_program(own_core, CORES);
    return NULL;
}

void odl_parallel(void (*program)(uint32_t core, uint32_t cores)) {
    pthread_t threads[CORES];
    parallel_program = program;
    pthread_barrier_init(&barrier, NULL, CORES);
    for (uint32_t core = 1; core < CORES; core++) {
        pthread_create(&threads[core], NULL, run_core, (void *)(uintptr_t)core);
    }
    run_core(NULL);
    for (uint32_t core = 1; core < CORES; core++) {
        pthread_join(threads[core], NULL);
    }
    pthread_barrier_destroy(&barrier);
}

#ifdef ODL_DMA_MAX_TRANSFERS
/* Each transfer under a handle of its own, carried out as late as the contract allows: when it is waited for.
 */
static struct {
    uint8_t *to;
    const uint8_t *from;
    uint32_t bytes, line, to_stride, from_stride;
} transfers[32];

static odl_dma_handle later(void *to, const void *from, uint32_t bytes, uint32_t line, uint32_t to_stride,
                            uint32_t from_stride) {
    odl_dma_handle handle = 0;
    while (transfers[handle].bytes != 0) {
        handle++;
    }
    transfers[handle].to = to;
    transfers[handle].from = from;
    transfers[handle].bytes = bytes;
    transfers[handle].line = line;
    transfers[handle].to_stride = to_stride;
    transfers[handle].from_stride = from_stride;
    return handle;
}

odl_dma_handle odl_dma_to_l1(void *l1, const void *l2, uint32_t bytes) {
    return later(l1, l2, bytes, bytes, bytes, bytes);
}

odl_dma_handle odl_dma_to_l2(void *l2, const void *l1, uint32_t bytes) {
    return later(l2, l1, bytes, bytes, bytes, bytes);
}

odl_dma_handle odl_dma_to_l1_2d(void *l1, const void *l2, uint32_t bytes, uint32_t line_bytes,
                                uint32_t stride_bytes) {
    return later(l1, l2, bytes, line_bytes, line_bytes, stride_bytes);
}

odl_dma_handle odl_dma_to_l2_2d(void *l2, const void *l1, uint32_t bytes, uint32_t line_bytes,
                                uint32_t stride_bytes) {
    return later(l2, l1, bytes, line_bytes, stride_bytes, line_bytes);
}

void odl_dma_wait(odl_dma_handle handle) {
    for (uint32_t done = 0, i = 0; done < transfers[handle].bytes; done += transfers[handle].line, i++) {
        memcpy(transfers[handle].to + i * transfers[handle].to_stride,
               transfers[handle].from + i * transfers[handle].from_stride, transfers[handle].line);
    }
    transfers[handle].bytes = 0;
}
#endif

uint32_t odl_cycles(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)now.tv_nsec;
}

uint32_t port_marks;
void odl_mark(uint32_t id) { port_marks += id != 0xffffffffu; }
