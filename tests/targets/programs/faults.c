/* Programs that must be stopped. FAULT says which. Core 2 does it, unless all must. */
#include "odl_runtime.h"

#define UNMAPPED_LOAD 1
#define UNMAPPED_STORE 2
#define ILLEGAL_INSTRUCTION 3
#define STACK_OVERFLOW 4
#define DEADLOCK 5
#define RUNAWAY 6
#define END_OF_L1 7
#define WILD_JUMP 8
#define DMA_OUTSIDE 9
#define BREAKPOINT 10
#define ZERO_INSTRUCTION 11
#define LARGE_FRAME 12

volatile uint32_t sink;
uint32_t zeros[4];

__attribute__((noinline)) uint32_t at_fault(uint32_t depth) {
#if FAULT == UNMAPPED_LOAD
    return *(volatile uint32_t *)(uintptr_t)(0x50000000u + depth);
#elif FAULT == UNMAPPED_STORE
    *(volatile uint32_t *)(uintptr_t)0x10100000u = depth;
#elif FAULT == ILLEGAL_INSTRUCTION
    __asm__ volatile(".word 0xffffffff");
#elif FAULT == STACK_OVERFLOW
    volatile uint32_t local[4] = {depth};
    return (sink == 0 ? at_fault(depth + 1) : 0) + local[0];
#elif FAULT == RUNAWAY
    while (sink == 0) {
        sink = 0;
    }
#elif FAULT == END_OF_L1
    uint32_t value;
    __asm__ volatile("lw %0, 0(%1)" : "=r"(value) : "r"(0x10000000u + 128u * 1024u - 2u));
    return value;
#elif FAULT == WILD_JUMP
    ((void (*)(void))(uintptr_t)0x60000000u)();
#elif FAULT == DMA_OUTSIDE
    odl_dma_wait(odl_dma_to_l1((void *)(uintptr_t)0x1001fff0u, zeros, 64));
#elif FAULT == BREAKPOINT
    __asm__ volatile("ebreak");
#elif FAULT == ZERO_INSTRUCTION
    ((void (*)(void))(uintptr_t)zeros)();
#elif FAULT == LARGE_FRAME
    volatile uint32_t local[400]; /* its low end, where nothing is written to, is beyond the guard */
    __asm__ volatile("" : : "r"(local));
    local[399] = depth;
    return local[399];
#endif
    return depth;
}

static void program(uint32_t core, uint32_t cores) {
    (void)cores;
    if (core == 2) {
#if FAULT == DEADLOCK
        *(volatile uint32_t *)(uintptr_t)0x10204000u = 0; /* no event wakes this core */
#else
        sink = at_fault(0);
#endif
    }
    odl_barrier();
}

int main(void) {
    odl_parallel(program);
    return 0;
}
