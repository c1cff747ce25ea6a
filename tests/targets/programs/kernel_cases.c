/* Runs a list of kernel calls, each on operands in L1 where there is one, as many cores as there are.
 *
 * A case's operands, its scalars among them, lie together in `data`; they are copied to L1, the kernel runs between two marks, and
 * everything is copied back, so that the host sees outputs, guard zones and inputs alike.
 */
#include "odl_runtime.h"

#include "kernel_list.h"

#define NONE 0xffffffffu

struct kernel_case {
    uint32_t kernel;
    uint32_t shape[SHAPE_WORDS];
    uint32_t begin, bytes;       /* of the operands in `data` */
    uint32_t operands[OPERANDS]; /* offsets from the first, or NONE */
};

uint32_t case_count;
struct kernel_case cases[CASES];
uint8_t data[DATA_BYTES] __attribute__((aligned(8)));

ODL_L1 uint8_t arena[ARENA_BYTES] __attribute__((aligned(64)));
ODL_L1 uint32_t shape[SHAPE_WORDS];

static void copy(uint32_t bytes, uint8_t *from, bool to_l1) {
#ifdef ODL_DMA_MAX_BYTES
    for (uint32_t at = 0; at < bytes; at += 0x10000) {
        const uint32_t size = bytes - at < 0x10000 ? bytes - at : 0x10000;
        odl_dma_wait(to_l1 ? odl_dma_to_l1(arena + at, from + at, size)
                           : odl_dma_to_l2(from + at, arena + at, size));
    }
#else
    memcpy(to_l1 ? arena : from, to_l1 ? from : arena, bytes);
#endif
}

static void program(uint32_t core, uint32_t cores) {
    for (uint32_t i = 0; i < case_count; i++) {
        const struct kernel_case *c = &cases[i];
        void *operands[OPERANDS];
        for (uint32_t k = 0; k < OPERANDS; k++) {
            operands[k] = c->operands[k] == NONE ? (void *)0 : arena + c->operands[k];
        }
        const uint32_t kernel = c->kernel;
        if (core == 0) {
            copy(c->bytes, data + c->begin, true);
            for (uint32_t k = 0; k < SHAPE_WORDS; k++) {
                shape[k] = c->shape[k];
            }
            odl_mark(2 * i);
        }
        odl_barrier();
        run_kernel(kernel, shape, operands, core, cores);
        odl_barrier();
        if (core == 0) {
            odl_mark(2 * i + 1);
            copy(c->bytes, data + c->begin, false);
        }
    }
}

int main(void) {
    odl_parallel(program);
    return 0;
}
