// Value changes of a window of cycles as a VCD file: what cores did, and their buses.
//
// The signals are those at the core's border, which the cluster sees anyway; so a trace needs no other build
// of the models, and where none is asked for costs nothing.
#pragma once

#include <array>
#include <cstdint>
#include <fstream>
#include <memory>
#include <vector>

#include "core.h"
#include "memory.h"
#include "options.h"

namespace odl {

class Trace {
  public:
    // Throws OptionError where the file cannot be written or there is no such core.
    Trace(const TraceOptions &options, const std::vector<std::unique_ptr<Core>> &cores, MemoryMap &memory);

    bool covers(uint64_t now) const { return now >= first_ && now <= last_; }
    // Call between arbitration and evaluation of a cycle in the window, when outputs are those of the cycle,
    void outputs();
    // and after evaluation, when inputs still are.
    void inputs(uint64_t now);
    // Call where a run stops within a cycle: the cycle is written too.
    void stop(uint64_t now);

  private:
    static constexpr size_t SIGNALS = 23;

    struct Watched {
        const Core *core;
        std::array<uint64_t, SIGNALS> values{};
        std::array<uint64_t, SIGNALS> written{};
    };

    void write_header();
    void write_value(size_t signal, size_t core, uint64_t value);

    uint64_t first_;
    uint64_t last_;
    MemoryMap &memory_;
    std::vector<Watched> watched_;
    bool begun_ = false;
    uint64_t written_ = 0; // cycle written last
    std::ofstream out_;
};

} // namespace odl
