/* Every core in the loop of six loads and eight packed multiply-accumulates: 14 cycles per iteration, no
 * stall. */
#include "odl_runtime.h"

void macs(const uint32_t *x, const uint32_t *y, uint32_t n);

ODL_L1 __attribute__((aligned(64))) uint32_t words[4096];

static void program(uint32_t core, uint32_t cores) {
    (void)cores;
    for (uint32_t repeat = 0; repeat < REPEAT; repeat++) {
        macs(words + 2 * core, words + 2 * core, 256);
    }
}

int main(void) {
    odl_parallel(program);
    return 0;
}
