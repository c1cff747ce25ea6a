#include "fpu.h"

#include <algorithm>

#include "evaluate.h"

#ifndef ODL_FPU_LATENCY
#error "ODL_FPU_LATENCY must be the LATENCY that odl_fpu was built with"
#endif

namespace odl {
namespace {

// FPnew's operation numbers: multiply-add and its negation, addition, multiplication; division, square root
bool is_addmul(uint32_t operation) { return (operation & 0xf) < 4; }
bool is_division(uint32_t operation) { return (operation & 0xf) == 4 || (operation & 0xf) == 5; }

template <class Model> void edge(Model &model) {
    model.clk_i = !model.clk_i;
    evaluate(model);
}

template <class Model> void deliver(Core &core, const Model &model) {
    core.signals().fpu_rvalid_i = 1;
    core.signals().fpu_result_i = model.result_o;
    core.signals().fpu_status_i = model.status_o;
}

} // namespace

FpuUnit::FpuUnit(std::vector<Core *> users, VerilatedContext &context)
    : users_(std::move(users)), addmul_{std::make_unique<Vodl_fpu_addmul>(&context)},
      other_{std::make_unique<Vodl_fpu_other>(&context)},
      divider_(std::make_unique<Vodl_fp_divider>(&context)) {
    reset(*addmul_.model);
    reset(*other_.model);
    reset(*divider_);
}

bool FpuUnit::asks(const Core &core) const {
    const Vodl_core &request = core.signals();
    return !core.asleep && request.fpu_req_o != 0 && !(dividing_ != nullptr && is_division(request.fpu_op_o));
}

Core *FpuUnit::choose() {
    if (burst_ < MAX_BURST && asks(*users_[owner_])) {
        burst_++;
        return users_[owner_];
    }
    for (size_t k = 1; k <= users_.size(); k++) {
        const size_t i = (owner_ + k) % users_.size();
        if (asks(*users_[i])) {
            owner_ = i;
            burst_ = 1;
            return users_[i];
        }
    }
    burst_ = MAX_BURST; // who paused begins anew
    return nullptr;
}

void FpuUnit::step() {
    for (Core *core : users_) {
        core->signals().fpu_gnt_i = 0;
        core->signals().fpu_rvalid_i = 0;
    }
    Core *core = choose();
    const uint32_t operation = core != nullptr ? core->signals().fpu_op_o : 0;
    addmul_.step(is_addmul(operation) ? core : nullptr);
    other_.step(is_addmul(operation) || is_division(operation) ? nullptr : core);
    step_divider(is_division(operation) ? core : nullptr);
}

template <class Model> void FpuUnit::Pipeline<Model>::step(Core *core) {
    Model &fpu = *model;
    if (core == nullptr && in_flight_count == 0) {
        return;
    }
    if (ODL_FPU_LATENCY > 0 && fpu.rvalid_o != 0) {
        deliver(*in_flight[0], fpu);
        std::copy(in_flight.begin() + 1, in_flight.end(), in_flight.begin());
        in_flight_count--;
    }
    fpu.req_i = core != nullptr;
    if (core != nullptr) {
        Vodl_core &request = core->signals();
        fpu.operand_a_i = request.fpu_operand_a_o;
        fpu.operand_b_i = request.fpu_operand_b_o;
        fpu.operand_c_i = request.fpu_operand_c_o;
        fpu.op_i = request.fpu_op_o;
        fpu.flags_i = request.fpu_flags_o;
        request.fpu_gnt_i = 1;
    }
    if (ODL_FPU_LATENCY > 0) {
        edge(fpu);
        if (core != nullptr) {
            in_flight[in_flight_count++] = core;
        }
    } else {
        evaluate(fpu); // no registers, so no clock
        if (core != nullptr) {
            deliver(*core, fpu);
        }
    }
}

void FpuUnit::step_divider(Core *core) {
    Vodl_fp_divider &divider = *divider_;
    if (core == nullptr && dividing_ == nullptr) {
        return;
    }
    divider.req_i = core != nullptr;
    if (core != nullptr) {
        divider.operand_a_i = core->signals().fpu_operand_a_o;
        divider.operand_b_i = core->signals().fpu_operand_b_o;
        divider.op_i = core->signals().fpu_op_o;
        divider.flags_i = core->signals().fpu_flags_o;
    }
    evaluate(divider);
    if (dividing_ != nullptr && divider.rvalid_o != 0) {
        deliver(*dividing_, divider);
        dividing_ = nullptr;
    }
    if (core != nullptr && divider.gnt_o != 0) {
        core->signals().fpu_gnt_i = 1;
        dividing_ = core;
    }
    edge(divider);
}

} // namespace odl
