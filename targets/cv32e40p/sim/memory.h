// Contents of L1 and L2, and a note for every word of who touched it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "address_map.h"

namespace odl {

class Memory {
  public:
    Memory(uint32_t base, uint32_t bytes);

    uint32_t base() const { return base_; }
    uint32_t bytes() const { return static_cast<uint32_t>(data_.size()); }
    bool contains(uint32_t address) const { return address - base_ < data_.size(); }
    bool contains(uint32_t address, uint32_t bytes) const {
        return contains(address) && bytes <= data_.size() - (address - base_);
    }

    // The aligned word around the address, which must be inside.
    uint32_t read(uint32_t address) const;
    // Bytes of the aligned word whose bit in byte_enable is set.
    void write(uint32_t address, uint32_t value, uint32_t byte_enable);
    uint8_t *pointer(uint32_t address) { return data_.data() + (address - base_); }
    const uint8_t *pointer(uint32_t address) const { return data_.data() + (address - base_); }

    // One byte per word: bits READ, WRITTEN, GUARD.
    static constexpr uint8_t READ = 1;
    static constexpr uint8_t WRITTEN = 2;
    static constexpr uint8_t GUARD = 4;
    void note(uint32_t address, uint8_t flag) { notes_[(address - base_) >> 2] |= flag; }
    void note(uint32_t address, uint32_t bytes, uint8_t flag);
    bool guarded(uint32_t address) const { return (notes_[(address - base_) >> 2] & GUARD) != 0; }
    const std::vector<uint8_t> &notes() const { return notes_; }

  private:
    uint32_t base_;
    std::vector<uint8_t> data_;
    std::vector<uint8_t> notes_;
};

struct MemoryMap {
    Memory l1;
    Memory l2;

    // The memory that holds the whole range, or null.
    Memory *find(uint32_t address, uint32_t bytes = 1);
    // The instruction at `pc`: 16 or 32 bits, which may straddle two words. None outside the memories.
    std::optional<uint32_t> instruction(uint32_t pc);
};

} // namespace odl
