/* The runtime as a program sees it: data in and out, output, marks, DMA handles, status. */
#include "odl_runtime.h"

uint32_t input[8];
uint32_t output[8];
uint32_t untouched[8];
ODL_L1 uint32_t shared[16];
__attribute__((section(".l1_data"))) uint32_t preset[2] = {11, 22};
uint32_t status;

static void program(uint32_t core, uint32_t cores) {
    shared[core] = core + 1;
    odl_barrier();
    if (core == 0) {
        odl_mark(7);
        uint32_t sum = 0;
        for (uint32_t i = 0; i < cores; i++) {
            sum += shared[i];
        }
        for (uint32_t i = 0; i < 8; i++) {
            output[i] = 3 * input[i] + sum + preset[0] + preset[1];
        }
        odl_mark(8);
    }
    odl_barrier();
    odl_put_string("core ");
    odl_put_unsigned(core);
    odl_put_string(" of ");
    odl_put_hex(cores);
    odl_put_string("\n");
}

int main(void) {
    odl_parallel(program);
    return (int)status;
}
