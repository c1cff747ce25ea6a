/* What a program finds on a PULP-like cluster: cores, barrier, DMA, counters, output, exit.
 *
 * The program's `int main(void)` runs on one core, and the run ends with the value that it returns;
 * `odl_parallel` brings in the workers, cores 0 … ODL_CORES-1, which sleep otherwise. Where ODL_CONTROLLER is
 * 1, that one core is a further one, ODL_CORES, and sleeps while they work; else it is core 0. Memory that
 * has no initial value starts as zero (the loader sees to it).
 */
#ifndef ODL_RUNTIME_H
#define ODL_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>

#ifndef ODL_CORES
#error "ODL_CORES: the number of cores the program is built for"
#endif

#ifndef ODL_CONTROLLER
#define ODL_CONTROLLER 0
#endif

/* Variables in L1. Everything else is in L2, except the stacks. */
#define ODL_L1 __attribute__((section(".l1")))
/* The same for variables with an initial value. */
#define ODL_L1_DATA __attribute__((section(".l1_data")))

static inline uint32_t odl_core_id(void) {
    uint32_t hart;
    __asm__("csrr %0, mhartid" : "=r"(hart));
    return hart & 0x1fu;
}

/* The number of workers. */
static inline uint32_t odl_core_count(void) { return ODL_CORES; }

/* Runs a program on every worker and returns when all have finished. Called by main, not by such a program.
 */
void odl_parallel(void (*program)(uint32_t core, uint32_t cores));

/* Inside a program of odl_parallel: waits until every worker has come here. What the cores stored before is
 * visible to all of them after. */
void odl_barrier(void);

/* Ends the run for all cores. */
_Noreturn void odl_exit(uint32_t status);

/* DMA between L2 and L1. Addresses and sizes may have any alignment; words are fastest. A transfer has at
 * most ODL_DMA_MAX_BYTES bytes. `odl_dma_wait` frees the handle and must be called once for each, by the core
 * that started it. At most 16 handles are in use at a time; a further start waits for a free one, so never
 * start more than 16 without waiting. */
#define ODL_DMA_MAX_BYTES 0x1ffffu
#define ODL_DMA_MAX_TRANSFERS 12u /* of one core; leaves some to the others */

typedef uint32_t odl_dma_handle;

odl_dma_handle odl_dma_to_l1(void *l1, const void *l2, uint32_t bytes);
odl_dma_handle odl_dma_to_l2(void *l2, const void *l1, uint32_t bytes);
/* Lines of `line_bytes`, dense in L1, `stride_bytes` apart in L2; `bytes` is the total. */
odl_dma_handle odl_dma_to_l1_2d(void *l1, const void *l2, uint32_t bytes, uint32_t line_bytes,
                                uint32_t stride_bytes);
odl_dma_handle odl_dma_to_l2_2d(void *l2, const void *l1, uint32_t bytes, uint32_t line_bytes,
                                uint32_t stride_bytes);
/* Sleeps until the transfer is complete. */
void odl_dma_wait(odl_dma_handle handle);

/* Cycles since the start; wraps after 2^32. */
uint32_t odl_cycles(void);
/* Notes the moment under `id`, for the host to read after the run: on cv32e40p with every core's counters, on
 * gvsoc with the memory that the host wants to see then, and by core 0 only. */
void odl_mark(uint32_t id);

void odl_put_char(char c);
void odl_put_string(const char *text);
void odl_put_unsigned(uint32_t value);
void odl_put_hex(uint32_t value);

#endif
