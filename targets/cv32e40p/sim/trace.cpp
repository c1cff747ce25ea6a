#include "trace.h"

#include <string>

namespace odl {
namespace {

// In the order in which outputs() and inputs() give the values. Width 0: a counter, shown by its name.
struct Signal {
    const char *name;
    int width;
};
constexpr Signal LIST[] = {
    {"pc_decode", 32},     {"pc_execute", 32},    {"instruction", 32}, {"asleep", 1},
    {"instr_req", 1},      {"instr_addr", 32},    {"instr_rvalid", 1}, {"data_req", 1},
    {"data_gnt", 1},       {"data_we", 1},        {"data_be", 4},      {"data_addr", 32},
    {"data_wdata", 32},    {"fpu_req", 1},        {"fpu_op", 6},       {"fpu_operand_a", 32},
    {"fpu_operand_b", 32}, {"fpu_operand_c", 32}, {"data_rvalid", 1},  {"data_rdata", 32},
    {"fpu_rvalid", 1},     {"fpu_result", 32},    {"counted_as", 0},
};

// Short names of printable characters, as the format wants them
std::string identifier(size_t number) {
    constexpr size_t CHARACTERS = '~' - '!' + 1;
    std::string name;
    do {
        name += static_cast<char>('!' + number % CHARACTERS);
        number /= CHARACTERS;
    } while (number != 0);
    return name;
}

} // namespace

Trace::Trace(const TraceOptions &options, const std::vector<std::unique_ptr<Core>> &cores, MemoryMap &memory)
    : first_(options.first_cycle), last_(options.last_cycle), memory_(memory), out_(options.path) {
    static_assert(std::size(LIST) == SIGNALS);
    for (const auto &core : cores) {
        if (options.core < 0 || core->id() == options.core) {
            watched_.push_back({core.get()});
        }
    }
    if (watched_.empty()) {
        throw OptionError{"--trace-core: there is no core " + std::to_string(options.core)};
    }
    write_header();
    if (!out_) {
        throw OptionError{"cannot write " + options.path};
    }
}

void Trace::write_header() {
    out_ << "$comment one unit of time is one cycle $end\n$timescale 1 ns $end\n";
    for (size_t i = 0; i < watched_.size(); i++) {
        out_ << "$scope module core" << watched_[i].core->id() << " $end\n";
        for (size_t signal = 0; signal < SIGNALS; signal++) {
            const auto &[name, width] = LIST[signal];
            out_ << "$var " << (width == 0 ? "string 1 " : "wire " + std::to_string(width) + ' ')
                 << identifier(i * SIGNALS + signal) << ' ' << name << " $end\n";
        }
        out_ << "$upscope $end\n";
    }
    out_ << "$enddefinitions $end\n";
}

void Trace::outputs() {
    for (Watched &watched : watched_) {
        const Vodl_core &core = watched.core->signals();
        watched.values = {
            core.pc_decode_o,     core.pc_execute_o,    memory_.instruction(core.pc_execute_o).value_or(0),
            watched.core->asleep, core.instr_req_o,     core.instr_addr_o,
            core.instr_rvalid_i,  core.data_req_o,      watched.core->granted,
            core.data_we_o,       core.data_be_o,       core.data_addr_o,
            core.data_wdata_o,    core.fpu_req_o,       core.fpu_op_o,
            core.fpu_operand_a_o, core.fpu_operand_b_o, core.fpu_operand_c_o};
    }
}

void Trace::inputs(uint64_t now) {
    out_ << '#' << now << '\n';
    for (size_t i = 0; i < watched_.size(); i++) {
        Watched &watched = watched_[i];
        const Vodl_core &core = watched.core->signals();
        uint64_t *value = &watched.values[SIGNALS - 5];
        *value++ = core.data_rvalid_i;
        *value++ = core.data_rdata_i;
        *value++ = core.fpu_rvalid_i;
        *value++ = core.fpu_result_i;
        *value++ = static_cast<uint64_t>(watched.core->counted_as());
        for (size_t signal = 0; signal < SIGNALS; signal++) {
            if (!begun_ || watched.values[signal] != watched.written[signal]) {
                write_value(signal, i, watched.values[signal]);
            }
        }
        watched.written = watched.values;
    }
    begun_ = true;
    written_ = now;
    if (now == last_) {
        out_ << '#' << now + 1 << '\n'; // so that the last cycle has a length
        out_.flush();
    }
}

void Trace::stop(uint64_t now) {
    if (covers(now) && (!begun_ || written_ != now)) {
        outputs();
        inputs(now);
    }
}

void Trace::write_value(size_t signal, size_t core, uint64_t value) {
    const int width = LIST[signal].width;
    if (width == 0) {
        out_ << 's' << COUNTER_NAMES[value] << ' ';
    } else if (width > 1) {
        out_ << 'b';
        for (int bit = width - 1; bit >= 0; bit--) {
            out_ << static_cast<char>('0' + (value >> bit & 1));
        }
        out_ << ' ';
    } else {
        out_ << value;
    }
    out_ << identifier(core * SIGNALS + signal) << '\n';
}

} // namespace odl
