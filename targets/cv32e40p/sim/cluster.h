// The cluster: its parts, and one cycle after the other.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core.h"
#include "dma.h"
#include "event_unit.h"
#include "fault.h"
#include "fpu.h"
#include "icache.h"
#include "interconnect.h"
#include "lockstep.h"
#include "memory.h"
#include "options.h"
#include "peripherals.h"
#include "trace.h"

namespace odl {

class Cluster {
  public:
    Cluster(const Options &options, MemoryMap &memory, uint32_t boot_address);

    // Runs until the program exits, a fault or the cycle limit.
    void run();

    void listen(std::function<void(uint32_t)> on_mark) { peripherals_.listen(std::move(on_mark)); }

    uint64_t cycles() const { return now_; }
    const std::optional<Fault> &fault() const { return fault_; }
    const Peripherals &peripherals() const { return peripherals_; }
    const std::vector<std::unique_ptr<Core>> &cores() const { return cores_; }

  private:
    // Everything of a cycle up to the point where each core's inputs are known. Throws Fault.
    void before_edge();
    void step_units();
    // An FPU with its cores, which depend on nothing else within the cycle.
    void step_unit(FpuUnit &unit);
    // What follows from the cores' new state. Throws Fault.
    void after_edge();
    void check_trap(Core &core);
    void check_stack(const Core &core);
    Fault stuck(const char *kind, const char *what) const;

    const Options &options_;
    MemoryMap &memory_;
    VerilatedContext context_;
    std::vector<std::unique_ptr<Core>> cores_;
    std::vector<FpuUnit> fpus_;
    std::vector<FetchUnit *> fetch_units_;
    EventUnit events_;
    Dma dma_;
    Peripherals peripherals_;
    Interconnect interconnect_;
    SharedCache shared_cache_;
    uint32_t stack_bytes_; // of each core; 0: unknown
    uint64_t now_ = 0;
    std::optional<Fault> fault_;
    std::unique_ptr<Trace> trace_;
    std::unique_ptr<Lockstep> lockstep_;
};

} // namespace odl
