#include "files.h"

#include <elf.h>

#include <cstring>
#include <iterator>
#include <sstream>

namespace odl {
namespace {

std::vector<char> read_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        throw OptionError{"cannot read " + path};
    }
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Memory &place(MemoryMap &memory, uint32_t address, size_t bytes, const std::string &what) {
    Memory *found = bytes <= UINT32_MAX ? memory.find(address, static_cast<uint32_t>(bytes)) : nullptr;
    if (found == nullptr) {
        std::ostringstream message;
        message << what << ": " << bytes << " bytes at 0x" << std::hex << address << " are outside L1 and L2";
        throw OptionError{message.str()};
    }
    return *found;
}

} // namespace

uint32_t load_elf(const std::string &path, MemoryMap &memory) {
    const std::vector<char> image = read_file(path);
    Elf32_Ehdr header;
    if (image.size() < sizeof header) {
        throw OptionError{path + ": not an ELF file"};
    }
    std::memcpy(&header, image.data(), sizeof header);
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS32 ||
        header.e_machine != EM_RISCV) {
        throw OptionError{path + ": not a 32-bit RISC-V ELF file"};
    }
    for (int i = 0; i < header.e_phnum; i++) {
        Elf32_Phdr segment;
        const size_t at = header.e_phoff + static_cast<size_t>(i) * header.e_phentsize;
        if (at + sizeof segment > image.size()) {
            throw OptionError{path + ": truncated"};
        }
        std::memcpy(&segment, image.data() + at, sizeof segment);
        if (segment.p_type != PT_LOAD || segment.p_filesz == 0) {
            continue; // memory starts out as zeros, so there is nothing to do for .bss
        }
        if (static_cast<size_t>(segment.p_offset) + segment.p_filesz > image.size()) {
            throw OptionError{path + ": truncated"};
        }
        Memory &target = place(memory, segment.p_paddr, segment.p_memsz, path);
        std::memcpy(target.pointer(segment.p_paddr), image.data() + segment.p_offset, segment.p_filesz);
    }
    return header.e_entry;
}

void load_file(const FileRange &range, MemoryMap &memory) {
    const std::vector<char> content = read_file(range.path);
    if (!content.empty()) {
        Memory &target = place(memory, range.address, content.size(), range.path);
        std::memcpy(target.pointer(range.address), content.data(), content.size());
    }
}

void dump_file(const FileRange &range, MemoryMap &memory) {
    std::ofstream file(range.path, std::ios::binary);
    if (range.bytes != 0) {
        Memory &source = place(memory, range.address, range.bytes, "--dump");
        file.write(reinterpret_cast<const char *>(source.pointer(range.address)), range.bytes);
    }
    if (!file) {
        throw OptionError{"cannot write " + range.path};
    }
}

Watcher::Watcher(const Options &options, MemoryMap &memory)
    : file_(options.watched, std::ios::binary), memory_(memory) {
    if (!file_) {
        throw OptionError{"cannot write " + options.watched};
    }
    for (const Watch &watch : options.watches) {
        place(memory, watch.range.address, watch.range.bytes, "--watch");
        ranges_[watch.mark].push_back(watch.range);
    }
}

void Watcher::mark(uint32_t number) {
    const auto found = ranges_.find(number);
    if (found == ranges_.end()) {
        return;
    }
    for (const AddressRange &range : found->second) {
        const Memory &source = place(memory_, range.address, range.bytes, "--watch");
        file_.write(reinterpret_cast<const char *>(source.pointer(range.address)), range.bytes);
    }
}

void dump_touched(const std::string &path, const MemoryMap &memory) {
    std::ofstream file(path, std::ios::binary);
    for (const Memory *part : {&memory.l1, &memory.l2}) {
        file.write(reinterpret_cast<const char *>(part->notes().data()),
                   static_cast<std::streamsize>(part->notes().size()));
    }
    if (!file) {
        throw OptionError{"cannot write " + path};
    }
}

} // namespace odl
