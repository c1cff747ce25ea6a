#include "interconnect.h"

#include <bit>

#include "address_map.h"
#include "fault.h"

namespace odl {
namespace {

// First set bit at or after position `from`, going round.
int next_of(uint32_t requests, int from) {
    const uint32_t later = requests & (~0u << from);
    return std::countr_zero(later != 0 ? later : requests);
}

Fault access_fault(Core &core, const char *kind, const char *what) {
    Vodl_core &signals = core.signals();
    return Fault{kind,
                 std::string(what) + (signals.data_we_o != 0 ? " (store)" : " (load)"),
                 core.id(),
                 signals.pc_execute_o,
                 signals.data_addr_o,
                 true};
}

} // namespace

Interconnect::Interconnect(const MachineOptions &options, std::vector<std::unique_ptr<Core>> &cores,
                           MemoryMap &memory, Dma &dma, Peripherals &peripherals)
    : cores_(cores), memory_(memory), dma_(dma), peripherals_(peripherals),
      l2_latency_(static_cast<uint64_t>(options.l2_latency)),
      workers_(static_cast<uint64_t>(options.workers)),
      bank_mask_(static_cast<uint32_t>(options.l1_banks - 1)) {}

void Interconnect::ask_bank(uint32_t address, int master) {
    const uint32_t bank = address >> 2 & bank_mask_;
    bank_requests_[bank] |= 1u << master;
    banks_asked_ |= uint64_t{1} << bank;
}

void Interconnect::arbitrate(uint64_t now) {
    for (const auto &core : cores_) {
        core->granted = false;
        if (!core->asleep && core->signals().data_req_o != 0) {
            route(*core, now);
        }
    }
    if (dma_.busy()) {
        for (int port = 0; port < Dma::PORTS; port++) {
            if (dma_.port_requests(port)) {
                ask_bank(dma_.port_address(port), static_cast<int>(cores_.size()) + port);
            }
        }
    }
    serve_banks(now);
    serve_l2(now);
}

void Interconnect::route(Core &core, uint64_t now) {
    const uint32_t address = core.signals().data_addr_o;
    if (memory_.l1.contains(address)) {
        // An answer of L2 may still be under way; those of L1 must not overtake it.
        core.hold_reason = core.in_order(now + 1) ? TCDM_CONFLICT : L2_ACCESS;
        if (core.in_order(now + 1)) {
            ask_bank(address, core.id());
        }
    } else if (memory_.l2.contains(address)) {
        core.hold_reason = L2_ACCESS;
        if (core.in_order(now + 1)) { // the bus carries one access of a core at a time
            l2_requests_ |= 1u << core.id();
        }
    } else {
        route_register(core, now);
    }
}

void Interconnect::route_register(Core &core, uint64_t now) {
    core.hold_reason = L2_ACCESS;
    if (!core.in_order(now + 1)) {
        return;
    }
    Vodl_core &signals = core.signals();
    const uint32_t address = signals.data_addr_o & ~3u;
    uint32_t value = 0;
    Outcome outcome;
    if (signals.data_we_o != 0) {
        // Byte stores bring their byte in its own lane.
        value = signals.data_wdata_o >> (8 * std::countr_zero(static_cast<uint32_t>(signals.data_be_o) | 8u));
        outcome = peripherals_.write(core.id(), address, value, now);
    } else {
        outcome = peripherals_.read(core.id(), address, now, value);
    }
    switch (outcome) {
    case Outcome::done:
        core.granted = true;
        core.answer(now + 1, value);
        break;
    case Outcome::wait:
        core.hold_reason = peripherals_.wait_reason(core.id(), address);
        break;
    case Outcome::unmapped:
        throw access_fault(core, "unmapped", "access to an unmapped address");
    }
    core.answer_reason = core.hold_reason;
}

// Among workers the first in line moves on by one in every cycle (a controller follows the last of them), as
// among the ports of the DMA engine; between the two groups the winner alternates.
int Interconnect::choose(int bank, uint64_t now) {
    const int cores = static_cast<int>(cores_.size());
    const uint32_t from_cores = bank_requests_[bank] & ((1u << cores) - 1);
    const uint32_t from_dma = bank_requests_[bank] >> cores;
    const uint64_t bit = uint64_t{1} << bank;
    const bool contended = from_cores != 0 && from_dma != 0;
    const bool dma_wins = contended ? (dma_next_ & bit) != 0 : from_dma != 0;
    if (contended) {
        dma_next_ ^= bit;
    }
    return dma_wins ? cores + next_of(from_dma, static_cast<int>(now % Dma::PORTS))
                    : next_of(from_cores, static_cast<int>(now % workers_));
}

void Interconnect::serve_banks(uint64_t now) {
    const int cores = static_cast<int>(cores_.size());
    for (; banks_asked_ != 0; banks_asked_ &= banks_asked_ - 1) {
        const int bank = std::countr_zero(banks_asked_);
        const int winner = choose(bank, now);
        bank_requests_[bank] = 0;
        if (winner >= cores) {
            dma_.port_granted(winner - cores, now);
        } else {
            access(*cores_[static_cast<size_t>(winner)], memory_.l1, now + 1);
        }
    }
}

// One access of one core per cycle.
void Interconnect::serve_l2(uint64_t now) {
    if (l2_requests_ == 0) {
        return;
    }
    Core &core = *cores_[static_cast<size_t>(next_of(l2_requests_, static_cast<int>(now % workers_)))];
    l2_requests_ = 0;
    core.answer_reason = L2_ACCESS;
    access(core, memory_.l2, now + l2_latency_);
}

void Interconnect::access(Core &core, Memory &memory, uint64_t answer_due) {
    Vodl_core &signals = core.signals();
    const uint32_t address = signals.data_addr_o;
    uint32_t data = 0;
    if (signals.data_we_o != 0) {
        if (memory.guarded(address)) {
            throw access_fault(core, "stack_overflow", "the word below a stack was written");
        }
        memory.write(address, signals.data_wdata_o, signals.data_be_o);
        memory.note(address, Memory::WRITTEN);
    } else {
        data = memory.read(address);
        memory.note(address, Memory::READ);
    }
    core.granted = true;
    core.answer(answer_due, data);
}

} // namespace odl
