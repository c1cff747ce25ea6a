// One verilated core with its queue of answers, its instruction fetch and its counters.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "Vodl_core.h"
#include "activity.h"
#include "icache.h"

namespace odl {

class Core {
  public:
    Core(int id, uint32_t boot_address, VerilatedContext &context, const MachineOptions &options,
         const MemoryMap &memory);

    int id() const { return id_; }
    Vodl_core &signals() { return *model_; }
    const Vodl_core &signals() const { return *model_; }
    FetchUnit &fetch() { return fetch_; }
    const Counters &counters() const { return counters_; }

    // The core sleeps in an event load: its clock stands still.
    bool asleep = false;
    // Set in every cycle by the interconnect, read by step()
    bool granted = false;
    // Why a request is not granted or what an answer is awaited from
    Counter hold_reason = TCDM_CONFLICT;
    Counter answer_reason = L2_ACCESS;

    // What the last cycle was counted as
    Counter counted_as() const { return asleep ? hold_reason : counted_as_; }

    // An access granted now would be answered after all earlier ones.
    bool in_order(uint64_t due) const { return answer_count_ == 0 || due > answers_[answer_count_ - 1].due; }
    bool answers_awaited() const { return answer_count_ != 0; }
    void answer(uint64_t due, uint32_t data) { answers_[answer_count_++] = {due, data}; }

    // Evaluates cycle `now`: every input must be set.
    void step(uint64_t now);
    // Counts a cycle in which the core is not evaluated.
    void sleep() { counters_[hold_reason]++; }

  private:
    Counter classify(bool fetch_missing) const;

    struct Answer {
        uint64_t due;
        uint32_t data;
    };

    int id_;
    std::unique_ptr<Vodl_core> model_;
    FetchUnit fetch_;
    Counters counters_{};
    Counter counted_as_ = OTHER;
    std::array<Answer, 4> answers_{};
    size_t answer_count_ = 0;
};

} // namespace odl
