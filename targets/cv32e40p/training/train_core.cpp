// Exercises the core model so that the compiler learns which of its branches are taken (profile-guided
// optimisation).
//
// The program is a mix of what kernels consist of: loads with post-increment, packed multiply-accumulate,
// integer arithmetic, stores, a hardware loop and a taken branch. The FPU's results are not computed: the
// core does not care.
#include "Vodl_core.h"
#include "verilated.h"

#include <cstdint>
#include <vector>

namespace {

constexpr uint32_t LOAD = 0x03, STORE = 0x23, OP_IMM = 0x13, OP = 0x33, BRANCH = 0x63, CUSTOM_0 = 0x0b,
                   CUSTOM_1 = 0x2b;

constexpr uint32_t r_type(uint32_t opcode, uint32_t f3, uint32_t f7, uint32_t rd, uint32_t rs1,
                          uint32_t rs2) {
    return f7 << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 | rd << 7 | opcode;
}
constexpr uint32_t i_type(uint32_t opcode, uint32_t f3, uint32_t rd, uint32_t rs1, uint32_t imm) {
    return (imm & 0xfff) << 20 | rs1 << 15 | f3 << 12 | rd << 7 | opcode;
}
constexpr uint32_t s_type(uint32_t opcode, uint32_t f3, uint32_t rs1, uint32_t rs2, uint32_t imm) {
    return (imm >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 | (imm & 0x1f) << 7 | opcode;
}
constexpr uint32_t branch_not_equal(uint32_t rs1, uint32_t rs2, int32_t offset) {
    const auto imm = static_cast<uint32_t>(offset);
    return (imm >> 12 & 1) << 31 | (imm >> 5 & 0x3f) << 25 | rs2 << 20 | rs1 << 15 | 1 << 12 |
           (imm >> 1 & 0xf) << 8 | (imm >> 11 & 1) << 7 | BRANCH;
}
constexpr uint32_t load_increment(uint32_t rd, uint32_t rs1, uint32_t imm) {
    return i_type(CUSTOM_0, 2, rd, rs1, imm);
}
constexpr uint32_t vfmac_h(uint32_t rd, uint32_t rs1, uint32_t rs2) {
    return r_type(OP, 2, 0x48, rd, rs1, rs2);
}

std::vector<uint32_t> program() {
    std::vector<uint32_t> code;
    const auto setup = [&](uint32_t count, uint32_t body) {
        code.push_back(i_type(OP_IMM, 0, 12, 0, count));
        code.push_back(i_type(CUSTOM_1, 4, 14, 12, body + 1)); // cv.setup 0
    };
    setup(24, 20);
    for (uint32_t k = 0; k < 6; k++) {
        code.push_back(load_increment(5 + k, 11, 4));
    }
    for (uint32_t k = 0; k < 14; k++) {
        code.push_back(vfmac_h(16 + k, 5 + k % 4, 9 + k % 2));
    }
    setup(8, 12);
    for (uint32_t k = 0; k < 3; k++) {
        code.push_back(i_type(LOAD, k, 5, 11, 8 * k));
        code.push_back(r_type(OP, 0, 1, 6, 5, 7)); // mul, right after the load
        code.push_back(r_type(OP, 4, 0, 7, 6, 5)); // xor
        code.push_back(s_type(STORE, 2, 11, 7, 16));
    }
    code.push_back(i_type(OP_IMM, 0, 13, 0, 12));
    code.push_back(i_type(OP_IMM, 0, 13, 13, 0xfff));
    code.push_back(i_type(OP_IMM, 1, 6, 13, 3));
    code.push_back(r_type(OP, 0, 0x20, 7, 6, 13));
    code.push_back(i_type(LOAD, 2, 1, 2, 0));
    code.push_back(i_type(OP_IMM, 0, 2, 2, 4));
    code.push_back(branch_not_equal(13, 0, -20));
    const auto back = static_cast<uint32_t>(-4 * static_cast<int32_t>(code.size()));
    code.push_back((back >> 20 & 1) << 31 | (back >> 1 & 0x3ff) << 21 | (back >> 11 & 1) << 20 |
                   (back & 0xff000) | 0x6f);
    return code;
}

} // namespace

int main() {
    const std::vector<uint32_t> code = program();
    VerilatedContext context;
    Vodl_core core(&context);
    core.rst_ni = 1;
    core.eval();
    core.rst_ni = 0;
    for (int i = 0; i < 4; i++) {
        core.eval();
        core.clk_i = !core.clk_i;
    }
    core.rst_ni = 1;
    core.eval();
    bool loaded = false;
    int pending = 0;
    uint32_t random = 1;
    for (int cycle = 0; cycle < 20000; cycle++) {
        random = random * 1664525 + 1013904223;
        core.instr_rvalid_i = core.instr_req_o;
        core.instr_rdata_i = core.instr_addr_o / 4 < code.size() ? code[core.instr_addr_o / 4] : 0;
        core.data_gnt_i = core.data_req_o && random >> 29 != 0; // one request in eight meets a conflict
        core.data_rvalid_i = loaded;
        core.data_rdata_i = random;
        loaded = core.data_gnt_i != 0;
        core.fpu_rvalid_i =
            ODL_FPU_LATENCY == 0 ? core.fpu_req_o : (pending >> (ODL_FPU_LATENCY - 1) & 1) != 0;
        pending = pending << 1 | core.fpu_req_o;
        core.fpu_gnt_i = core.fpu_req_o;
        core.fpu_result_i = random;
        core.clk_i = !core.clk_i;
        core.eval();
        if (core.trap_o != 0) {
            return 1; // an instruction above is not what it should be
        }
    }
    return 0;
}
