#include "core.h"

#include <algorithm>

namespace odl {

Core::Core(int id, uint32_t boot_address, VerilatedContext &context, const MachineOptions &options,
           const MemoryMap &memory)
    : id_(id), model_(std::make_unique<Vodl_core>(&context)), fetch_(options, memory) {
    model_->clk_i = 0;
    model_->hart_id_i = static_cast<uint32_t>(id);
    model_->boot_addr_i = boot_address;
    model_->rst_ni = 1;
    model_->eval();
    model_->rst_ni = 0; // an edge of its own, which the asynchronous resets wait for
    for (int i = 0; i < 4; i++) {
        model_->eval();
        model_->clk_i = !model_->clk_i;
    }
    model_->rst_ni = 1;
    model_->eval();
}

void Core::step(uint64_t now) {
    Vodl_core &model = *model_;
    model.data_gnt_i = granted;
    const bool answered = answer_count_ != 0 && answers_[0].due <= now;
    model.data_rvalid_i = answered;
    if (answered) {
        model.data_rdata_i = answers_[0].data;
        std::copy(answers_.begin() + 1, answers_.end(), answers_.begin());
        answer_count_--;
    }
    const bool fetch_missing = fetch_.missing();
    model.clk_i = !model.clk_i;
    model.eval();

    fetch_.receive(now);
    uint32_t word = 0;
    model.instr_rvalid_i = fetch_.step(model.instr_req_o != 0, model.instr_addr_o, word);
    model.instr_rdata_i = word;

    switch (static_cast<Activity>(model.activity_o)) {
    case Activity::issued:
        counters_[INSTRUCTIONS]++;
        break;
    case Activity::not_granted:
        counters_[hold_reason]++;
        break;
    case Activity::not_answered:
        counters_[answer_reason]++;
        break;
    case Activity::load_use:
        counters_[LOAD_USE]++;
        break;
    case Activity::fpu:
        counters_[FPU_STALL]++;
        break;
    case Activity::misaligned:
        counters_[MISALIGNED]++;
        break;
    case Activity::multicycle:
        counters_[MULTICYCLE]++;
        break;
    case Activity::jump_register:
        counters_[BRANCH]++;
        break;
    case Activity::no_instruction:
        counters_[fetch_missing ? ICACHE_MISS : BRANCH]++;
        break;
    case Activity::other:
        counters_[OTHER]++;
        break;
    }
}

} // namespace odl
