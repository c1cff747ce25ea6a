// Why a run stopped before the program ended it.
#pragma once

#include <cstdint>
#include <string>

namespace odl {

struct Fault {
    std::string kind; // "unmapped", "illegal_instruction", "stack_overflow", "deadlock", "cycle_limit", …
    std::string message;
    int core = -1;
    uint32_t pc = 0;
    uint32_t address = 0;
    bool has_address = false;
};

} // namespace odl
