/* odl_parallel again and again, with work by core 0 alone in between. */
#include "odl_runtime.h"

ODL_L1 uint32_t turns[16];
uint32_t sums[3];
static uint32_t step;

static void count(uint32_t core, uint32_t cores) {
    turns[core] += step;
    odl_barrier();
    if (core == cores - 1) {
        turns[0] += 100;
    }
}

static void count_twice(uint32_t core, uint32_t cores) {
    (void)cores;
    turns[core] += 2 * step;
}

int main(void) {
    for (step = 1; step <= 3; step++) {
        odl_parallel(step == 2 ? count_twice : count);
        for (uint32_t core = 0; core < odl_core_count(); core++) {
            sums[step - 1] += turns[core];
        }
    }
    return 0;
}
