#include "peripherals.h"

#include <cstdio>

#include "address_map.h"

namespace odl {
namespace {

constexpr uint32_t DMA_COMMAND = 0x0;
constexpr uint32_t DMA_STATUS = 0x4;
constexpr uint32_t DMA_BYTES = 0x8;

constexpr uint32_t TIMER_CONFIG = address::TIMER;
constexpr uint32_t TIMER_COUNT = address::TIMER + 8;
constexpr uint32_t TIMER_ENABLE = 1;
constexpr uint32_t TIMER_RESET = 2;

constexpr uint32_t FETCH_ENABLE = address::CLUSTER_CONTROL + 0x08;
constexpr uint32_t BOOT_ADDRESSES = address::CLUSTER_CONTROL + 0x40;
constexpr uint32_t BOOT_ADDRESSES_END = address::CLUSTER_CONTROL + 0x80;

constexpr uint32_t MEASURE_MARK = 0x000;
constexpr uint32_t MEASURE_CYCLES = 0x004;
constexpr uint32_t MEASURE_CYCLES_HIGH = 0x008;
constexpr uint32_t MEASURE_COUNTERS = 0x100; // of the calling core, in the order of `Counter`

bool inside(uint32_t address, uint32_t begin, uint32_t bytes) { return address - begin < bytes; }

} // namespace

Peripherals::Peripherals(const std::vector<std::unique_ptr<Core>> &cores, Dma &dma, EventUnit &events)
    : cores_(cores), dma_(dma), events_(events), lines_(cores.size()) {}

Outcome Peripherals::read(int core, uint32_t address, uint64_t now, uint32_t &value) {
    value = 0;
    if (inside(address, address::EVENT_UNIT_CORE, 0x400)) {
        return events_.read(core, address - address::EVENT_UNIT_CORE, now, value);
    }
    if (inside(address, address::DMA_CORE, DMA_BYTES)) {
        return read_dma(core, address - address::DMA_CORE, value);
    }
    if (inside(address, address::DMA, DMA_BYTES)) {
        return read_dma(core, address - address::DMA, value);
    }
    if (inside(address, address::MEASURE, address::MEASURE_END - address::MEASURE)) {
        value = read_measure(core, address - address::MEASURE, now);
        return Outcome::done;
    }
    if (inside(address, address::EVENT_UNIT_ALL, 0x800)) {
        return events_.read_all(address - address::EVENT_UNIT_ALL, value);
    }
    if (address == TIMER_CONFIG) {
        value = timer_runs_ ? TIMER_ENABLE : 0;
        return Outcome::done;
    }
    if (address == TIMER_COUNT) {
        value = static_cast<uint32_t>(timer_held_ + (timer_runs_ ? now - timer_start_ : 0));
        return Outcome::done;
    }
    if (address == FETCH_ENABLE) {
        value = (1u << cores_.size()) - 1;
        return Outcome::done;
    }
    const bool known = address == address::ICACHE_CONTROL || address == address::FC_ICACHE_CONTROL ||
                       inside(address, BOOT_ADDRESSES, BOOT_ADDRESSES_END - BOOT_ADDRESSES);
    return known ? Outcome::done : Outcome::unmapped;
}

Outcome Peripherals::write(int core, uint32_t address, uint32_t value, uint64_t now) {
    if (inside(address, address::EVENT_UNIT_CORE, 0x400)) {
        return events_.write(core, address - address::EVENT_UNIT_CORE, value, now);
    }
    if (inside(address, address::DMA_CORE, DMA_BYTES)) {
        return write_dma(core, address - address::DMA_CORE, value, now);
    }
    if (inside(address, address::DMA, DMA_BYTES)) {
        return write_dma(core, address - address::DMA, value, now);
    }
    if (inside(address, address::STDOUT, address::STDOUT_END - address::STDOUT)) {
        put_character(core, static_cast<char>(value));
        return Outcome::done;
    }
    if (address == address::EXIT) {
        exited_ = true;
        exit_status_ = value & 0x7fffffff;
        return Outcome::done;
    }
    if (address == address::MEASURE + MEASURE_MARK) {
        Mark mark{value, now, {}};
        for (const auto &each : cores_) {
            mark.counters.push_back(each->counters());
        }
        marks_.push_back(std::move(mark));
        if (on_mark_) {
            on_mark_(value);
        }
        return Outcome::done;
    }
    if (inside(address, address::EVENT_UNIT_ALL, 0x800)) {
        return events_.write_all(core, address - address::EVENT_UNIT_ALL, value, now);
    }
    if (address == TIMER_CONFIG) {
        timer_held_ = (value & TIMER_RESET) != 0 ? 0 : timer_held_ + (timer_runs_ ? now - timer_start_ : 0);
        timer_runs_ = (value & TIMER_ENABLE) != 0;
        timer_start_ = now;
        return Outcome::done;
    }
    const bool known = address == address::ICACHE_CONTROL || address == address::FC_ICACHE_CONTROL ||
                       address == FETCH_ENABLE ||
                       inside(address, BOOT_ADDRESSES, BOOT_ADDRESSES_END - BOOT_ADDRESSES);
    return known ? Outcome::done : Outcome::unmapped;
}

Outcome Peripherals::read_dma(int core, uint32_t offset, uint32_t &value) {
    if (offset == DMA_STATUS) {
        value = dma_.status();
        return Outcome::done;
    }
    return dma_.allocate_counter(core, value) ? Outcome::done : Outcome::wait;
}

Outcome Peripherals::write_dma(int core, uint32_t offset, uint32_t value, uint64_t now) {
    if (offset == DMA_STATUS) {
        dma_.free_counters(value);
        return Outcome::done;
    }
    return offset == DMA_COMMAND && dma_.push_command(core, value, now) ? Outcome::done : Outcome::wait;
}

uint32_t Peripherals::read_measure(int core, uint32_t offset, uint64_t now) const {
    if (offset == MEASURE_CYCLES) {
        return static_cast<uint32_t>(now);
    }
    if (offset == MEASURE_CYCLES_HIGH) {
        return static_cast<uint32_t>(now >> 32);
    }
    const uint32_t index = (offset - MEASURE_COUNTERS) / 4;
    return index < COUNTERS ? static_cast<uint32_t>(cores_[static_cast<size_t>(core)]->counters()[index]) : 0;
}

void Peripherals::put_character(int core, char c) {
    std::string &line = lines_[static_cast<size_t>(core)];
    line += c;
    if (c == '\n') {
        std::fwrite(line.data(), 1, line.size(), stdout);
        line.clear();
    }
}

void Peripherals::flush_stdout() {
    for (std::string &line : lines_) {
        std::fwrite(line.data(), 1, line.size(), stdout);
        line.clear();
    }
    std::fflush(stdout);
}

Counter Peripherals::wait_reason(int core, uint32_t address) const {
    return inside(address, address::EVENT_UNIT_CORE, 0x400) ? events_.wait_reason(core) : DMA_WAIT;
}

} // namespace odl
