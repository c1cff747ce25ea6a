/* What a layer of a network asks of the cores, in C: tiles by DMA, packed fp16 products, rectifier with
 * branches, an fp32 update, and barriers in between. */
#include "isa/packed_fp16.h"
#include "odl_runtime.h"

enum { ROWS = 64, COLUMNS = 16, PAIRS = 36, STRIDE = PAIRS + 1 };

uint32_t inputs[ROWS * STRIDE];
uint32_t weights[COLUMNS * STRIDE];
ODL_L1 static uint32_t tile[ROWS * STRIDE];
ODL_L1 static uint32_t local[COLUMNS * STRIDE];
ODL_L1 static uint32_t sums[ROWS * COLUMNS];
ODL_L1 static float master[ROWS * COLUMNS];

static void products(uint32_t first, uint32_t last) {
    for (uint32_t row = first; row < last; row += 2) {
        for (uint32_t column = 0; column < COLUMNS; column += 2) {
            const uint32_t *a = tile + row * STRIDE;
            const uint32_t *b = local + column * STRIDE;
            uint32_t s00 = 0, s01 = 0, s10 = 0, s11 = 0;
            for (uint32_t k = 0; k < PAIRS; k++) {
                s00 = odl_vfmac_h(s00, a[k], b[k]);
                s01 = odl_vfmac_h(s01, a[k], b[k + STRIDE]);
                s10 = odl_vfmac_h(s10, a[k + STRIDE], b[k]);
                s11 = odl_vfmac_h(s11, a[k + STRIDE], b[k + STRIDE]);
            }
            sums[row * COLUMNS + column] = s00;
            sums[row * COLUMNS + column + 1] = s01;
            sums[(row + 1) * COLUMNS + column] = s10;
            sums[(row + 1) * COLUMNS + column + 1] = s11;
        }
    }
}

static void rectify_and_update(uint32_t first, uint32_t last) {
    for (uint32_t i = first * COLUMNS; i < last * COLUMNS; i++) {
        const uint32_t sum = odl_vfadd_h(sums[i], sums[i] >> 16);
        const odl_f16 half = (sum & 0x8000u) != 0 ? (odl_f16)0 : (odl_f16)sum;
        master[i] += 0.125f * odl_half_to_float(half);
    }
}

static void program(uint32_t core, uint32_t cores) {
    const uint32_t first = ROWS * core / cores, last = ROWS * (core + 1) / cores;
    for (uint32_t repeat = 0; repeat < REPEAT; repeat++) {
        if (core == 0) {
            odl_dma_wait(odl_dma_to_l1(local, weights, sizeof local));
        }
        odl_dma_wait(
            odl_dma_to_l1(tile + first * STRIDE, inputs + first * STRIDE, (last - first) * STRIDE * 4));
        odl_barrier();
        products(first, last);
        rectify_and_update(first, last);
        odl_barrier();
    }
}

int main(void) {
    odl_parallel(program);
    return 0;
}
