/* 256 × 16 × 144 in fp16 on all cores: C = A · Bᵀ, where B comes interleaved as matmul_4x4 wants it. */
#include "odl_runtime.h"

#define ROWS 256
#define COLUMNS 16
#define DEPTH 144
#ifndef PADDING
#define PADDING 0 /* halves at the end of a row of A */
#endif
#define STRIDE (DEPTH + PADDING)

typedef uint16_t half;

void matmul_4x4(const half *a, const half *b, uint32_t k_pairs, half *c, uint32_t a_stride,
                uint32_t c_stride);

ODL_L1 half a[ROWS * STRIDE];
ODL_L1 half b[COLUMNS * DEPTH];
ODL_L1 half c[ROWS * COLUMNS];
uint32_t cycles;

#ifndef REPEAT
#define REPEAT 1
#endif

static void program(uint32_t core, uint32_t cores) {
    const uint32_t rows = ROWS / cores;
    const half *my_a = a + core * rows * STRIDE;
    half *my_c = c + core * rows * COLUMNS;
    odl_barrier();
    const uint32_t begin = odl_cycles();
    if (core == 0) {
        odl_mark(0);
    }
    for (uint32_t repeat = 0; repeat < REPEAT; repeat++) {
        for (uint32_t j = 0; j < COLUMNS; j += 4) {
            for (uint32_t i = 0; i < rows; i += 4) {
                matmul_4x4(my_a + i * STRIDE, b + j * DEPTH, DEPTH / 2, my_c + i * COLUMNS + j, 2 * STRIDE,
                           2 * COLUMNS);
            }
        }
    }
    odl_barrier();
    if (core == 0) {
        cycles = odl_cycles() - begin;
        odl_mark(1);
    }
}

int main(void) {
    odl_parallel(program);
    return 0;
}
