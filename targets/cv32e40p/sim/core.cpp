#include "core.h"

#include <algorithm>

#include "evaluate.h"

namespace odl {

Core::Core(int id, uint32_t boot_address, VerilatedContext &context, const MachineOptions &options,
           const MemoryMap &memory)
    : id_(id), model_(std::make_unique<Vodl_core>(&context)), fetch_(options, memory) {
    model_->hart_id_i = static_cast<uint32_t>(id);
    model_->boot_addr_i = boot_address;
    reset(*model_);
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
    evaluate(model);

    fetch_.receive(now);
    uint32_t word = 0;
    model.instr_rvalid_i = fetch_.step(model.instr_req_o != 0, model.instr_addr_o, word);
    model.instr_rdata_i = word;

    counted_as_ = classify(fetch_missing);
    counters_[counted_as_]++;
}

Counter Core::classify(bool fetch_missing) const {
    switch (static_cast<Activity>(model_->activity_o)) {
    case Activity::issued:
        return INSTRUCTIONS;
    case Activity::not_granted:
        return hold_reason;
    case Activity::not_answered:
        return answer_reason;
    case Activity::load_use:
        return LOAD_USE;
    case Activity::fpu:
        return FPU_STALL;
    case Activity::misaligned:
        return MISALIGNED;
    case Activity::multicycle:
        return MULTICYCLE;
    case Activity::jump_or_branch:
        return BRANCH;
    case Activity::no_instruction:
        return fetch_missing ? ICACHE_MISS : BRANCH;
    case Activity::other:
        break;
    }
    return OTHER;
}

} // namespace odl
