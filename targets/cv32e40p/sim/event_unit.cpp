#include "event_unit.h"

namespace odl {
namespace {

// Offsets in a core's block
constexpr uint32_t MASK = 0x00;
constexpr uint32_t MASK_AND = 0x04; // clears the bits written
constexpr uint32_t MASK_OR = 0x08;  // sets the bits written
constexpr uint32_t MASK_IRQ = 0x0C; // kept at 0: no interrupts
constexpr uint32_t MASK_IRQ_OR = 0x14;
constexpr uint32_t STATUS = 0x18;
constexpr uint32_t BUFFER = 0x1C;
constexpr uint32_t BUFFER_MASKED = 0x20;
constexpr uint32_t BUFFER_CLEAR = 0x28;
constexpr uint32_t EVENT_WAIT = 0x38;
constexpr uint32_t EVENT_WAIT_CLEAR = 0x3C;
constexpr uint32_t CORE_END = 0x40;

// Where the other blocks begin, as a core sees them
constexpr uint32_t SOFTWARE_EVENTS = 0x100;
constexpr uint32_t SOFTWARE_EVENTS_BYTES = 0x20;
constexpr uint32_t BARRIERS_BEGIN = 0x200;
constexpr uint32_t BARRIER_BYTES = 0x20;
// and as seen from outside
constexpr uint32_t ALL_BARRIERS = 0x400;
constexpr uint32_t ALL_SOFTWARE_EVENTS = 0x600;

// Offsets in a barrier's block
constexpr uint32_t TRIGGER_MASK = 0x00;
constexpr uint32_t BARRIER_STATUS = 0x04;
constexpr uint32_t TARGET_MASK = 0x0C;
constexpr uint32_t TRIGGER = 0x10;
constexpr uint32_t TRIGGER_SELF = 0x14;
constexpr uint32_t TRIGGER_WAIT = 0x18;
constexpr uint32_t TRIGGER_WAIT_CLEAR = 0x1C;

} // namespace

EventUnit::EventUnit(int workers, int cores) : cores_(static_cast<size_t>(cores)) {
    // As pulp-open's start-up leaves it, so that no core needs to come before the others.
    const uint32_t all_workers = (1u << workers) - 1;
    const uint32_t all = (1u << cores) - 1;
    barriers_[0] = {all_workers, all_workers, 0};
    barriers_[1] = {all, all, 0};
}

Outcome EventUnit::wait(CoreState &state, bool clear, uint32_t &value) {
    const uint32_t seen = state.buffer & state.mask;
    if (seen == 0) {
        state.waiting = true;
        return Outcome::wait;
    }
    value = seen;
    if (clear) {
        state.buffer &= ~seen;
    }
    state.waiting = false;
    state.in_barrier = false;
    return Outcome::done;
}

Outcome EventUnit::read(int core, uint32_t offset, uint64_t now, uint32_t &value) {
    CoreState &state = cores_[static_cast<size_t>(core)];
    if (offset == EVENT_WAIT || offset == EVENT_WAIT_CLEAR) {
        return wait(state, offset == EVENT_WAIT_CLEAR, value);
    }
    if (offset < CORE_END) {
        return read_core(state, offset, value);
    }
    if (offset < BARRIERS_BEGIN || offset >= BARRIERS_BEGIN + BARRIERS * BARRIER_BYTES) {
        return Outcome::unmapped;
    }
    const uint32_t within = offset % BARRIER_BYTES;
    if (within == TRIGGER_WAIT || within == TRIGGER_WAIT_CLEAR) {
        if (!state.waiting) { // the first of the repeated reads: the core arrives
            state.in_barrier = true;
            arrive(barriers_[(offset - BARRIERS_BEGIN) / BARRIER_BYTES], 1u << core, now);
        }
        return wait(state, within == TRIGGER_WAIT_CLEAR, value);
    }
    return read_barrier(offset - BARRIERS_BEGIN, value);
}

Outcome EventUnit::write(int core, uint32_t offset, uint32_t value, uint64_t now) {
    if (offset < CORE_END) {
        return write_core(cores_[static_cast<size_t>(core)], offset, value);
    }
    return write_shared(core, offset, BARRIERS_BEGIN, SOFTWARE_EVENTS, value, now);
}

Outcome EventUnit::read_all(uint32_t offset, uint32_t &value) const {
    if (offset / CORE_END < cores_.size()) {
        return read_core(cores_[offset / CORE_END], offset % CORE_END, value);
    }
    if (offset >= ALL_BARRIERS && offset < ALL_BARRIERS + BARRIERS * BARRIER_BYTES) {
        return read_barrier(offset - ALL_BARRIERS, value);
    }
    return Outcome::unmapped;
}

Outcome EventUnit::write_all(int core, uint32_t offset, uint32_t value, uint64_t now) {
    if (offset / CORE_END < cores_.size()) {
        return write_core(cores_[offset / CORE_END], offset % CORE_END, value);
    }
    return write_shared(core, offset, ALL_BARRIERS, ALL_SOFTWARE_EVENTS, value, now);
}

Outcome EventUnit::write_shared(int core, uint32_t offset, uint32_t barriers, uint32_t events, uint32_t value,
                                uint64_t now) {
    if (offset - barriers < BARRIERS * BARRIER_BYTES) {
        return write_barrier(core, offset - barriers, value, now);
    }
    if (offset - events < SOFTWARE_EVENTS_BYTES) {
        raise(static_cast<int>((offset - events) / 4), value == 0 ? ~0u : value, now);
        return Outcome::done;
    }
    return Outcome::unmapped;
}

Outcome EventUnit::read_core(const CoreState &state, uint32_t offset, uint32_t &value) const {
    switch (offset) {
    case MASK:
        value = state.mask;
        return Outcome::done;
    case STATUS:
        value = state.waiting ? 0 : 1;
        return Outcome::done;
    case BUFFER:
        value = state.buffer;
        return Outcome::done;
    case BUFFER_MASKED:
        value = state.buffer & state.mask;
        return Outcome::done;
    default:
        return Outcome::unmapped;
    }
}

Outcome EventUnit::write_core(CoreState &state, uint32_t offset, uint32_t value) {
    switch (offset) {
    case MASK:
        state.mask = value;
        return Outcome::done;
    case MASK_AND:
        state.mask &= ~value;
        return Outcome::done;
    case MASK_OR:
        state.mask |= value;
        return Outcome::done;
    case BUFFER_CLEAR:
        state.buffer &= ~value;
        return Outcome::done;
    default:
        return offset >= MASK_IRQ && offset <= MASK_IRQ_OR ? Outcome::done : Outcome::unmapped;
    }
}

Outcome EventUnit::read_barrier(uint32_t offset, uint32_t &value) const {
    const Barrier &barrier = barriers_[offset / BARRIER_BYTES];
    switch (offset % BARRIER_BYTES) {
    case TRIGGER_MASK:
        value = barrier.trigger_mask;
        return Outcome::done;
    case BARRIER_STATUS:
        value = barrier.status;
        return Outcome::done;
    case TARGET_MASK:
        value = barrier.target_mask;
        return Outcome::done;
    default:
        return Outcome::unmapped;
    }
}

Outcome EventUnit::write_barrier(int core, uint32_t offset, uint32_t value, uint64_t now) {
    Barrier &barrier = barriers_[offset / BARRIER_BYTES];
    switch (offset % BARRIER_BYTES) {
    case TRIGGER_MASK:
        barrier.trigger_mask = value;
        return Outcome::done;
    case TARGET_MASK:
        barrier.target_mask = value;
        return Outcome::done;
    case TRIGGER:
        arrive(barrier, value, now);
        return Outcome::done;
    case TRIGGER_SELF:
        arrive(barrier, 1u << core, now);
        return Outcome::done;
    default:
        return Outcome::unmapped;
    }
}

void EventUnit::arrive(Barrier &barrier, uint32_t cores, uint64_t now) {
    barrier.status |= cores & barrier.trigger_mask;
    if (barrier.trigger_mask != 0 && barrier.status == barrier.trigger_mask) {
        barrier.status = 0;
        raise(BARRIER_EVENT, barrier.target_mask, now);
    }
}

void EventUnit::raise(int event, uint32_t cores, uint64_t now) {
    pending_.push_back({now + DELAY, cores, event});
}

void EventUnit::tick(uint64_t now) {
    size_t kept = 0;
    for (const Pending &entry : pending_) {
        if (entry.due > now) {
            pending_[kept++] = entry;
            continue;
        }
        for (size_t i = 0; i < cores_.size(); i++) {
            cores_[i].buffer |= (entry.cores >> i & 1) << entry.event;
        }
    }
    pending_.resize(kept);
}

Counter EventUnit::wait_reason(int core) const {
    const CoreState &state = cores_[static_cast<size_t>(core)];
    if (state.in_barrier) {
        return BARRIER;
    }
    return (state.mask >> DMA_EVENT & 1) != 0 ? DMA_WAIT : SLEEP;
}

} // namespace odl
