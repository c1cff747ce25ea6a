// Where a core's cycles go. Every cycle of every core is counted once, so the counters of a core add up to
// the cycles.
#pragma once

#include <array>
#include <cstdint>

namespace odl {

// As the core reports it; the numbers are those of odl_core.sv.
enum class Activity : uint8_t {
    issued = 0,
    not_granted = 1,
    not_answered = 2,
    load_use = 3,
    fpu = 4,
    misaligned = 5,
    multicycle = 6,
    jump_or_branch = 7,
    no_instruction = 8,
    other = 9,
};

// As it is counted: the core's report refined by what the cluster knows.
enum Counter : int {
    INSTRUCTIONS,  // an instruction left the decode stage
    LOAD_USE,      // the operand of the next instruction was being loaded
    TCDM_CONFLICT, // L1 was asked but the bank served another
    L2_ACCESS,     // a load or store to L2 or to a register outside the cluster's L1 was under way
    FPU_STALL,     // FPU result awaited, FPU busy (divide) or taken by another core
    ICACHE_MISS,   // no instruction, because the instruction cache was refilling
    BRANCH,        // no instruction, because of a taken branch or a jump
    DMA_WAIT,      // waiting for a DMA event or for room in the DMA queue
    BARRIER,       // waiting in a barrier
    SLEEP,         // waiting for any other event
    MULTICYCLE,    // second and later cycles of integer division and of high multiplication
    MISALIGNED,    // second half of a misaligned access
    OTHER,         // CSR access, fence, start-up
    COUNTERS
};

inline constexpr std::array<const char *, COUNTERS> COUNTER_NAMES = {
    "instructions", "load_use", "tcdm_conflict", "l2_access",  "fpu_stall",  "icache_miss", "branch",
    "dma_wait",     "barrier",  "sleep",         "multicycle", "misaligned", "other"};

using Counters = std::array<uint64_t, COUNTERS>;

} // namespace odl
