#include "memory.h"

#include <cstring>

namespace odl {

Memory::Memory(uint32_t base, uint32_t bytes) : base_(base), data_(bytes, 0), notes_(bytes / 4, 0) {}

uint32_t Memory::read(uint32_t address) const {
    uint32_t value;
    std::memcpy(&value, pointer(address & ~3u), sizeof value);
    return value;
}

void Memory::write(uint32_t address, uint32_t value, uint32_t byte_enable) {
    uint8_t *word = pointer(address & ~3u);
    if (byte_enable == 0xf) {
        std::memcpy(word, &value, sizeof value);
        return;
    }
    for (int i = 0; i < 4; i++) {
        if ((byte_enable >> i & 1) != 0) {
            word[i] = static_cast<uint8_t>(value >> (8 * i));
        }
    }
}

void Memory::note(uint32_t address, uint32_t bytes, uint8_t flag) {
    for (uint32_t word = address & ~3u; word < address + bytes; word += 4) {
        note(word, flag);
    }
}

Memory *MemoryMap::find(uint32_t address, uint32_t bytes) {
    if (l1.contains(address, bytes)) {
        return &l1;
    }
    return l2.contains(address, bytes) ? &l2 : nullptr;
}

std::optional<uint32_t> MemoryMap::instruction(uint32_t pc) {
    const Memory *memory = find(pc & ~3u);
    if (memory == nullptr) {
        return std::nullopt;
    }
    uint32_t word = memory->read(pc);
    if ((pc & 2) != 0) {
        word >>= 16;
        if (memory->contains(pc + 2)) {
            word |= memory->read(pc + 2) << 16;
        }
    }
    return (word & 3) == 3 ? word : word & 0xffff;
}

} // namespace odl
