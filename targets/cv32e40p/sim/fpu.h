// FPUs: one per core, or fewer that cores share. A unit takes one request per cycle.
//
// Among cores that share a unit, one that asks in every cycle is served up to MAX_BURST times in a row, then
// it is the next one's turn. Taking turns in every cycle would keep cores that run the same loop in step, so
// that they all compute at once and then all leave the unit idle.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "Vodl_fp_divider.h"
#include "Vodl_fpu_addmul.h"
#include "Vodl_fpu_other.h"
#include "core.h"

namespace odl {

class FpuUnit {
  public:
    static constexpr int MAX_BURST = 16;

    FpuUnit(std::vector<Core *> users, VerilatedContext &context);

    const std::vector<Core *> &users() const { return users_; }
    // Sets the FPU inputs of its cores for this cycle; call before the cores are stepped.
    void step();

  private:
    // The core whose request is taken up in this cycle, or null.
    bool asks(const Core &core) const;
    Core *choose();
    void step_divider(Core *core);

    // Half an FPU: operations that take a fixed number of cycles
    template <class Model> struct Pipeline {
        std::unique_ptr<Model> model;
        std::array<Core *, 4> in_flight{}; // whose results are under way, oldest first
        size_t in_flight_count = 0;

        void step(Core *core);
    };

    std::vector<Core *> users_;
    size_t owner_ = 0; // user served last
    int burst_ = 0;    // requests of that user served in a row
    Pipeline<Vodl_fpu_addmul> addmul_;
    Pipeline<Vodl_fpu_other> other_;
    std::unique_ptr<Vodl_fp_divider> divider_;
    Core *dividing_ = nullptr;
};

} // namespace odl
