#include "icache.h"

#include <algorithm>

namespace odl {

LineStore::LineStore(uint32_t bytes)
    : sets_(bytes / LINE_BYTES / WAYS), lines_(bytes / LINE_BYTES, EMPTY), oldest_(sets_, 0) {}

bool LineStore::contains(uint32_t line) const {
    const uint32_t *set = &lines_[line % sets_ * WAYS];
    return std::find(set, set + WAYS, line) != set + WAYS;
}

void LineStore::insert(uint32_t line) {
    if (contains(line)) {
        return;
    }
    uint8_t &oldest = oldest_[line % sets_];
    lines_[line % sets_ * WAYS + oldest] = line;
    oldest = static_cast<uint8_t>((oldest + 1) % WAYS);
}

FetchUnit::FetchUnit(const MachineOptions &options, const MemoryMap &memory)
    : ideal_(options.icache_ideal), memory_(memory), lines_(options.icache_private_bytes) {}

// Where there is no memory the answer is an illegal instruction: a fetch ahead of a jump must do no harm.
uint32_t FetchUnit::instruction(uint32_t address) const {
    if (memory_.l2.contains(address)) {
        return memory_.l2.read(address);
    }
    return memory_.l1.contains(address) ? memory_.l1.read(address) : 0;
}

bool FetchUnit::step(bool request, uint32_t address, uint32_t &word) {
    if (ideal_) {
        word = request ? instruction(address) : 0;
        return request;
    }
    if (request) {
        waiting_[static_cast<size_t>(waiting_count_++)] = address;
    }
    missing_ = false;
    if (waiting_count_ == 0) {
        return false;
    }
    const uint32_t line = waiting_[0] / LineStore::LINE_BYTES;
    if (line != last_hit_) {
        if (!lines_.contains(line)) {
            missing_ = true;
            if (!refilling(line)) {
                ask(demand_, line);
            }
            return false;
        }
        last_hit_ = line;
        if (!prefetch_.active && !lines_.contains(line + 1) && !refilling(line + 1)) {
            ask(prefetch_, line + 1);
        }
    }
    word = instruction(waiting_[0]);
    std::copy(waiting_.begin() + 1, waiting_.end(), waiting_.begin());
    waiting_count_--;
    return true;
}

bool FetchUnit::refilling(uint32_t line) const {
    return (demand_.active && demand_.line == line) || (prefetch_.active && prefetch_.line == line);
}

void FetchUnit::ask(Refill &refill, uint32_t line) {
    if (!refill.active) {
        refill = {true, false, line, 0};
    }
}

FetchUnit::Refill *FetchUnit::wanted() {
    for (Refill *refill : {&demand_, &prefetch_}) {
        if (refill->active && !refill->requested) {
            return refill;
        }
    }
    return nullptr;
}

void FetchUnit::receive(uint64_t now) {
    for (Refill *refill : {&demand_, &prefetch_}) {
        if (refill->active && refill->requested && refill->ready <= now) {
            lines_.insert(refill->line);
            refill->active = false;
            last_hit_ = ~0u; // the line in use may be the one replaced
        }
    }
}

SharedCache::SharedCache(const MachineOptions &options)
    : latency_(static_cast<uint64_t>(options.icache_shared_latency)),
      l2_cycles_(static_cast<uint64_t>(options.l2_latency) + 1), lines_(options.icache_shared_bytes) {}

uint64_t SharedCache::look_up(uint32_t line, uint64_t now) {
    if (lines_.contains(line)) {
        return now + latency_ - 1;
    }
    const auto under_way = std::find_if(refills_.begin(), refills_.end(),
                                        [line](const Refill &refill) { return refill.line == line; });
    if (under_way != refills_.end()) {
        return under_way->ready + latency_ - 1;
    }
    // Refills leave through one port, two beats each; several can be under way.
    const uint64_t begin = std::max(now, port_free_);
    port_free_ = begin + 2;
    refills_.push_back({line, begin + l2_cycles_});
    return begin + l2_cycles_ + latency_ - 1;
}

void SharedCache::serve(std::vector<FetchUnit *> &cores, uint64_t now) {
    std::erase_if(refills_, [&](const Refill &refill) {
        if (refill.ready <= now) {
            lines_.insert(refill.line);
        }
        return refill.ready <= now;
    });
    std::array<bool, BANKS> bank_taken{};
    for (size_t k = 0; k < cores.size(); k++) {
        FetchUnit::Refill *refill = cores[(first_ + k) % cores.size()]->wanted();
        if (refill == nullptr || bank_taken[refill->line % BANKS]) {
            continue;
        }
        bank_taken[refill->line % BANKS] = true;
        refill->requested = true;
        refill->ready = look_up(refill->line, now);
    }
    first_ = (first_ + 1) % cores.size();
}

} // namespace odl
