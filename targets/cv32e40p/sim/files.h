// What goes into memory before a run and comes out after it.
#pragma once

#include <cstdint>

#include "memory.h"
#include "options.h"

namespace odl {

// Copies the segments of a 32-bit RISC-V ELF to their physical addresses; returns the entry. Throws
// OptionError.
uint32_t load_elf(const std::string &path, MemoryMap &memory);
// Throws OptionError where a range is not inside one memory or a file cannot be read.
void load_file(const FileRange &range, MemoryMap &memory);
void dump_file(const FileRange &range, MemoryMap &memory);
// Notes of L1, then of L2, one byte per word.
void dump_touched(const std::string &path, const MemoryMap &memory);

} // namespace odl
