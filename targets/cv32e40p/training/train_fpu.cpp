// Exercises the FPU model for profile-guided optimisation: mostly packed multiply-accumulate on ordinary
// numbers.
#include "Vodl_fpu_addmul.h"
#include "verilated.h"

#include <cstdint>

namespace {

uint32_t half_near_one(uint32_t random) {
    return (random & 0x8000) | ((12 + (random >> 16) % 6) << 10) | (random & 0x3ff);
}

} // namespace

int main() {
    VerilatedContext context;
    Vodl_fpu_addmul fpu(&context);
    fpu.rst_ni = 1;
    fpu.eval();
    fpu.rst_ni = 0;
    for (int i = 0; i < 4; i++) {
        fpu.eval();
        fpu.clk_i = !fpu.clk_i;
    }
    fpu.rst_ni = 1;
    uint32_t random = 1;
    const auto next = [&] {
        random = random * 1664525 + 1013904223;
        return random ^ random >> 13;
    };
    // FPnew's operation numbers: multiply-add, add, multiply
    const uint32_t operations[] = {0, 0, 0, 0, 0, 2, 2, 3};
    for (int cycle = 0; cycle < 20000; cycle++) {
        const uint32_t operation = operations[next() % 8];
        const bool packed = next() % 8 != 0;
        const uint32_t format = packed ? 2 : 0; // FP16, FP32
        fpu.req_i = 1;
        fpu.operand_a_i = half_near_one(next()) << 16 | half_near_one(next());
        fpu.operand_b_i = half_near_one(next()) << 16 | half_near_one(next());
        fpu.operand_c_i = half_near_one(next()) << 16 | half_near_one(next());
        fpu.op_i = static_cast<uint8_t>(operation | (packed ? 32 : 0));
        fpu.flags_i = static_cast<uint16_t>(format << 6 | format << 3);
        if (ODL_FPU_LATENCY > 0) {
            fpu.clk_i = !fpu.clk_i;
        }
        fpu.eval();
    }
    return 0;
}
