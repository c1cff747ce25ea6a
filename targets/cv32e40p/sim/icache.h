// Instruction fetch: a small cache per core in front of one that the cores share, refilled from L2.
//
// Lines are 16 bytes. Only presence is modelled: the instructions themselves always come from memory.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "memory.h"
#include "options.h"

namespace odl {

// Which lines are present: set associative, the oldest line of a set is replaced.
class LineStore {
  public:
    static constexpr uint32_t LINE_BYTES = 16;
    static constexpr uint32_t WAYS = 4;

    explicit LineStore(uint32_t bytes);
    bool contains(uint32_t line) const;
    void insert(uint32_t line);

  private:
    static constexpr uint32_t EMPTY = ~0u;
    uint32_t sets_;
    std::vector<uint32_t> lines_; // sets × ways
    std::vector<uint8_t> oldest_; // per set
};

// One core's side. The core may have two fetches under way; they are answered in order.
class FetchUnit {
  public:
    FetchUnit(const MachineOptions &options, const MemoryMap &memory);

    // Call at the end of cycle `now` with the core's request of that cycle; true if a word is ready in the
    // next.
    bool step(bool request, uint32_t address, uint32_t &word);
    // The core is waiting for a line.
    bool missing() const { return missing_; }

    struct Refill {
        bool active = false;
        bool requested = false;
        uint32_t line = 0;
        uint64_t ready = 0;
    };
    // Towards the shared cache: the line asked for and not yet requested there, or null.
    Refill *wanted();
    // Takes in lines that have come by `now`; call at the end of the cycle, before step().
    void receive(uint64_t now);

  private:
    uint32_t instruction(uint32_t address) const;
    bool refilling(uint32_t line) const;
    void ask(Refill &refill, uint32_t line);

    bool ideal_;
    const MemoryMap &memory_;
    LineStore lines_;
    uint32_t last_hit_ = ~0u;
    bool missing_ = false;
    Refill demand_;
    Refill prefetch_; // the line after the one in use
    std::array<uint32_t, 4> waiting_{};
    int waiting_count_ = 0;
};

// The level behind: one look-up per bank and cycle.
class SharedCache {
  public:
    static constexpr uint32_t BANKS = 4;

    explicit SharedCache(const MachineOptions &options);
    void serve(std::vector<FetchUnit *> &cores, uint64_t now);

  private:
    // When the line can be with the core; starts a refill if it must.
    uint64_t look_up(uint32_t line, uint64_t now);

    struct Refill {
        uint32_t line;
        uint64_t ready;
    };
    uint64_t latency_;
    uint64_t l2_cycles_; // latency, and a second beat of 8 bytes
    uint64_t port_free_ = 0;
    LineStore lines_;
    std::vector<Refill> refills_;
    size_t first_ = 0; // round robin
};

} // namespace odl
