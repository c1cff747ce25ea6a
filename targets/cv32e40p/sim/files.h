// What goes into memory before a run and comes out after it.
#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <vector>

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

// Writes the watched memory to a file at every mark, watch after watch.
class Watcher {
  public:
    // Throws OptionError where a range is not inside one memory or the file cannot be written.
    Watcher(const Options &options, MemoryMap &memory);
    void mark(uint32_t number);

  private:
    std::ofstream file_;
    MemoryMap &memory_;
    std::map<uint32_t, std::vector<AddressRange>> ranges_;
};

} // namespace odl
