// The event unit: what a core waits for, barriers, software events. Registers as in PULP's event unit
// version 3.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "activity.h"

namespace odl {

// What became of an access to a register. `wait`: it is repeated in every cycle until it is done.
enum class Outcome { done, wait, unmapped };

class EventUnit {
  public:
    static constexpr int BARRIERS = 8;
    static constexpr int DMA_EVENT = 8;
    static constexpr int BARRIER_EVENT = 16;
    // From the cycle in which something happens to the cycle in which a waiting core's event load is granted.
    static constexpr uint64_t DELAY = 2;

    // Barrier 0 is that of the workers, barrier 1 that of all cores; the others must be configured.
    EventUnit(int workers, int cores);

    // Access by a core to its own registers.
    Outcome read(int core, uint32_t offset, uint64_t now, uint32_t &value);
    Outcome write(int core, uint32_t offset, uint32_t value, uint64_t now);
    // The same registers as seen from outside: every core's block, barriers, software events.
    Outcome read_all(uint32_t offset, uint32_t &value) const;
    Outcome write_all(int core, uint32_t offset, uint32_t value, uint64_t now);

    // Sets event `event` in the cores of the mask, after DELAY cycles.
    void raise(int event, uint32_t cores, uint64_t now);
    // Delivers what is due; call once at the start of every cycle.
    void tick(uint64_t now);

    // True when a waiting core can go on, so it must be evaluated again.
    bool wakes(int core) const {
        const CoreState &state = cores_[static_cast<size_t>(core)];
        return !state.waiting || (state.buffer & state.mask) != 0;
    }
    bool pending() const { return !pending_.empty(); }
    // What the core is waiting for, as a counter.
    Counter wait_reason(int core) const;

  private:
    struct CoreState {
        uint32_t mask = 0;
        uint32_t buffer = 0;
        bool waiting = false;
        bool in_barrier = false;
    };
    struct Barrier {
        uint32_t trigger_mask = 0;
        uint32_t target_mask = 0;
        uint32_t status = 0;
    };
    struct Pending {
        uint64_t due;
        uint32_t cores;
        int event;
    };

    Outcome read_core(const CoreState &state, uint32_t offset, uint32_t &value) const;
    Outcome write_core(CoreState &state, uint32_t offset, uint32_t value);
    Outcome read_barrier(uint32_t offset, uint32_t &value) const;
    Outcome write_barrier(int core, uint32_t offset, uint32_t value, uint64_t now);
    // Barriers and software events, which begin at `barriers` and `events`.
    Outcome write_shared(int core, uint32_t offset, uint32_t barriers, uint32_t events, uint32_t value,
                         uint64_t now);
    void arrive(Barrier &barrier, uint32_t cores, uint64_t now);
    // The waiting read itself: done and cleared when an event of the mask is there.
    Outcome wait(CoreState &state, bool clear, uint32_t &value);

    std::vector<CoreState> cores_;
    std::array<Barrier, BARRIERS> barriers_;
    std::vector<Pending> pending_;
};

} // namespace odl
