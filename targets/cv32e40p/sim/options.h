// What the command line says: the machine, the program, and what goes in and out of memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace odl {

// A configuration that cannot be simulated; the message is one line.
struct OptionError {
    std::string message;
};

struct MachineOptions {
    int workers = 8;
    bool controller = false; // one more core, the last, which orchestrates
    int fpu_units = 0;       // 0: one per core; else core i uses unit i mod fpu_units
    uint32_t l1_bytes = 128 * 1024;
    int l1_banks = 16;
    uint32_t l2_bytes = 1536 * 1024;
    int l2_latency = 15;
    bool icache_ideal = false;
    uint32_t icache_private_bytes = 512; // per core
    uint32_t icache_shared_bytes = 4096;
    int icache_shared_latency = 3;

    int cores() const { return workers + (controller ? 1 : 0); }
};

struct FileRange {
    uint32_t address = 0;
    uint32_t bytes = 0; // dumps only
    std::string path;
};

struct AddressRange {
    uint32_t address = 0;
    uint32_t bytes = 0;
};

// Memory to write out whenever the program makes a mark.
struct Watch {
    uint32_t mark = 0;
    AddressRange range;
};

struct TraceOptions {
    std::string path; // empty: none
    uint64_t first_cycle = 0;
    uint64_t last_cycle = UINT64_MAX;
    int core = -1; // -1: all
};

struct Options {
    MachineOptions machine;
    std::string elf;
    std::string result;
    std::string touched; // file for the map of touched words; empty: none
    std::vector<FileRange> loads;
    std::vector<FileRange> dumps;
    std::vector<AddressRange> guards;
    std::string watched; // file for what the watches see, one after the other; empty: none
    std::vector<Watch> watches;
    AddressRange stacks; // of all cores, equal parts one after the other; no bytes: none
    uint64_t max_cycles = 1'000'000'000;
    int threads = 1;
    TraceOptions trace;
    bool deliver_traps = false; // let the program's trap handler run instead of stopping
};

// Throws OptionError.
Options parse_options(int argc, char **argv);

} // namespace odl
