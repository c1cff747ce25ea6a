// Who gets what in a cycle: banks of L1, the port to L2, registers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core.h"
#include "dma.h"
#include "memory.h"
#include "peripherals.h"

namespace odl {

class Interconnect {
  public:
    static constexpr int MAX_BANKS = 64;
    static constexpr int MAX_MASTERS = 32; // cores first, then the ports of the DMA engine

    Interconnect(const MachineOptions &options, std::vector<std::unique_ptr<Core>> &cores, MemoryMap &memory,
                 Dma &dma, Peripherals &peripherals);

    // Decides every request of cycle `now`: sets the cores' `granted`, does the accesses, queues the answers.
    // Throws Fault.
    void arbitrate(uint64_t now);

  private:
    void route(Core &core, uint64_t now);
    void route_register(Core &core, uint64_t now);
    void ask_bank(uint32_t address, int master);
    void serve_banks(uint64_t now);
    int choose(int bank, uint64_t now);
    void serve_l2(uint64_t now);
    // The access itself, of a core to a memory.
    void access(Core &core, Memory &memory, uint64_t answer_due);

    std::vector<std::unique_ptr<Core>> &cores_;
    MemoryMap &memory_;
    Dma &dma_;
    Peripherals &peripherals_;
    uint64_t l2_latency_;
    uint64_t workers_;
    uint32_t bank_mask_;
    uint32_t bank_requests_[MAX_BANKS] = {}; // a bit per master
    uint64_t dma_next_ = 0;                  // a bit per bank: the DMA engine wins against a core
    uint64_t banks_asked_ = 0;               // a bit per bank
    uint32_t l2_requests_ = 0;               // a bit per core
};

} // namespace odl
