// FPUs: one per core, or fewer that cores share. A unit takes one request per cycle, round robin.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "Vodl_fp_divider.h"
#include "Vodl_fpu.h"
#include "core.h"

namespace odl {

class FpuUnit {
  public:
    FpuUnit(std::vector<Core *> users, VerilatedContext &context);

    const std::vector<Core *> &users() const { return users_; }
    // Sets the FPU inputs of its cores for this cycle; call before the cores are stepped.
    void step();

  private:
    // The core whose request is taken up in this cycle, or null.
    Core *choose();
    void step_pipeline(Core *core);
    void step_divider(Core *core);

    std::vector<Core *> users_;
    std::unique_ptr<Vodl_fpu> fpu_;
    std::unique_ptr<Vodl_fp_divider> divider_;
    size_t next_ = 0; // round robin
    // Whose results are in the pipeline, oldest first
    std::array<Core *, 4> in_flight_{};
    size_t in_flight_count_ = 0;
    Core *dividing_ = nullptr;
};

} // namespace odl
