#include "cluster.h"

#include <algorithm>
#include <sstream>

namespace odl {
namespace {

std::vector<std::unique_ptr<Core>> make_cores(const Options &options, uint32_t boot_address,
                                              VerilatedContext &context, const MemoryMap &memory) {
    std::vector<std::unique_ptr<Core>> cores;
    for (int i = 0; i < options.machine.cores(); i++) {
        cores.push_back(std::make_unique<Core>(i, boot_address, context, options.machine, memory));
    }
    return cores;
}

constexpr uint32_t STACK_GUARD_BYTES = 16;

std::string hex(uint32_t value) {
    std::ostringstream text;
    text << "0x" << std::hex << value;
    return text.str();
}

} // namespace

Cluster::Cluster(const Options &options, MemoryMap &memory, uint32_t boot_address)
    : options_(options), memory_(memory), cores_(make_cores(options, boot_address, context_, memory)),
      events_(options.machine.workers, options.machine.cores()),
      dma_(options.machine.cores(), options.machine.l2_latency, memory, events_),
      peripherals_(cores_, dma_, events_), interconnect_(options.machine, cores_, memory, dma_, peripherals_),
      shared_cache_(options.machine),
      stack_bytes_(options.stacks.bytes / static_cast<uint32_t>(options.machine.cores())) {
    const int units = options.machine.fpu_units != 0 ? options.machine.fpu_units : options.machine.cores();
    for (int unit = 0; unit < units; unit++) {
        std::vector<Core *> users;
        for (int core = unit; core < options.machine.cores(); core += units) {
            users.push_back(cores_[static_cast<size_t>(core)].get());
        }
        fpus_.emplace_back(std::move(users), context_);
    }
    for (const auto &core : cores_) {
        fetch_units_.push_back(&core->fetch());
    }
    // Each round costs the threads some hundred nanoseconds: too much for one or two cores.
    const int threads = units >= 4 ? options.threads : 1;
    if (!options.trace.path.empty()) {
        trace_ = std::make_unique<Trace>(options.trace, cores_, memory);
    }
    lockstep_ = std::make_unique<Lockstep>(units, threads,
                                           [this](int unit) { step_unit(fpus_[static_cast<size_t>(unit)]); });
}

void Cluster::run() {
    try {
        while (!peripherals_.exited()) {
            if (now_ == options_.max_cycles) {
                throw stuck("cycle_limit", "the program did not end within the cycle limit");
            }
            before_edge();
            const bool traced = trace_ && trace_->covers(now_);
            if (traced) {
                trace_->outputs();
            }
            step_units();
            if (traced) {
                trace_->inputs(now_);
            }
            after_edge();
            now_++;
        }
    } catch (const Fault &fault) {
        fault_ = fault;
    }
    if (trace_) {
        trace_->stop(now_);
    }
    peripherals_.flush_stdout();
}

void Cluster::before_edge() {
    events_.tick(now_);
    for (const auto &core : cores_) {
        if (core->asleep && events_.wakes(core->id())) {
            core->asleep = false;
        }
    }
    dma_.prepare(now_);
    interconnect_.arbitrate(now_);
    if (!options_.machine.icache_ideal) {
        shared_cache_.serve(fetch_units_, now_);
    }
}

void Cluster::step_units() {
    const auto awake =
        std::count_if(cores_.begin(), cores_.end(), [](const auto &core) { return !core->asleep; });
    if (awake > 2) {
        lockstep_->run(static_cast<int>(awake));
        return;
    }
    for (FpuUnit &unit : fpus_) {
        step_unit(unit);
    }
}

void Cluster::step_unit(FpuUnit &unit) {
    unit.step();
    for (Core *core : unit.users()) {
        if (!core->asleep) {
            core->step(now_);
        } else {
            core->sleep();
        }
    }
}

void Cluster::after_edge() {
    bool all_asleep = true;
    for (const auto &core : cores_) {
        if (core->asleep) {
            continue;
        }
        Vodl_core &signals = core->signals();
        if (signals.trap_o != 0 && !options_.deliver_traps) {
            check_trap(*core);
        }
        check_stack(*core);
        // The last request was not granted, so it is an event load that waits: the core's clock may stop.
        core->asleep =
            signals.sleep_o != 0 && !core->granted && !core->answers_awaited() && !events_.wakes(core->id());
        all_asleep = all_asleep && core->asleep;
    }
    if (all_asleep && !events_.pending() && !dma_.busy()) {
        throw stuck("deadlock", "every core waits for an event and nothing is under way");
    }
}

void Cluster::check_trap(Core &core) {
    Vodl_core &signals = core.signals();
    const uint32_t pc = signals.trap_pc_o;
    switch (signals.trap_cause_o) {
    case 2: {
        const std::optional<uint32_t> word = memory_.instruction(pc);
        if (!word) {
            throw Fault{"unmapped", "instruction fetch from an unmapped address", core.id(), pc, pc, true};
        }
        throw Fault{"illegal_instruction", "illegal instruction " + hex(*word), core.id(), pc, 0, false};
    }
    case 3:
        throw Fault{"breakpoint", "ebreak", core.id(), pc, 0, false};
    default:
        throw Fault{"trap", "trap with cause " + std::to_string(signals.trap_cause_o), core.id(), pc, 0,
                    false};
    }
}

// A frame can be so large that nothing is written to the words that guard the stack. The stack pointer tells:
// it is in the part of another core, or so low in its own that the guard is in the frame.
void Cluster::check_stack(const Core &core) {
    const uint32_t pointer = core.signals().stack_pointer_o;
    if (pointer - options_.stacks.address >= options_.stacks.bytes) {
        return; // not a stack of these: before the start, or the trap handler's
    }
    const uint32_t bottom = options_.stacks.address + stack_bytes_ * static_cast<uint32_t>(core.id());
    if (pointer < bottom + STACK_GUARD_BYTES || pointer > bottom + stack_bytes_) {
        throw Fault{"stack_overflow", "the stack pointer left the stack",
                    core.id(),        core.signals().pc_execute_o,
                    pointer,          true};
    }
}

// Names the first core that is awake, else core 0; the result file lists where each of them is.
Fault Cluster::stuck(const char *kind, const char *what) const {
    size_t culprit = 0;
    for (size_t i = cores_.size(); i-- > 0;) {
        if (!cores_[i]->asleep) {
            culprit = i;
        }
    }
    return Fault{kind, what, static_cast<int>(culprit), cores_[culprit]->signals().pc_execute_o, 0, false};
}

} // namespace odl
