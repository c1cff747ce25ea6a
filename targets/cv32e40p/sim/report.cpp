#include "report.h"

#include <fstream>
#include <utility>

namespace odl {
namespace {

template <class Items, class Write> void write_list(std::ostream &out, const Items &items, Write write) {
    out << '[';
    const char *separator = "";
    for (const auto &item : items) {
        out << std::exchange(separator, ",");
        write(item);
    }
    out << ']';
}

void write_counters(std::ostream &out, const Counters &counters) {
    write_list(out, counters, [&](uint64_t counter) { out << counter; });
}

void write_fault(std::ostream &out, const Fault &fault) {
    out << "{\"kind\":\"" << fault.kind << "\",\"message\":\"" << fault.message
        << "\",\"core\":" << fault.core << ",\"pc\":" << fault.pc
        << ",\"address\":" << (fault.has_address ? std::to_string(fault.address) : "null") << '}';
}

} // namespace

void write_report(const std::string &path, const Cluster &cluster, double seconds, double cpu_seconds) {
    std::ofstream out(path);
    const Peripherals &peripherals = cluster.peripherals();
    out << "{\"cycles\":" << cluster.cycles() << ",\"seconds\":" << seconds
        << ",\"cpu_seconds\":" << cpu_seconds
        << ",\"exit_status\":" << (peripherals.exited() ? std::to_string(peripherals.exit_status()) : "null")
        << ",\"fault\":";
    if (cluster.fault()) {
        write_fault(out, *cluster.fault());
    } else {
        out << "null";
    }
    out << ",\"counter_names\":";
    write_list(out, COUNTER_NAMES, [&](const char *name) { out << '"' << name << '"'; });
    out << ",\n\"cores\":";
    write_list(out, cluster.cores(), [&](const auto &core) {
        out << "{\"pc\":" << core->signals().pc_execute_o
            << ",\"asleep\":" << (core->asleep ? "true" : "false") << ",\"counters\":";
        write_counters(out, core->counters());
        out << '}';
    });
    out << ",\n\"marks\":";
    write_list(out, peripherals.marks(), [&](const Mark &mark) {
        out << "\n{\"id\":" << mark.id << ",\"cycle\":" << mark.cycle << ",\"counters\":";
        write_list(out, mark.counters, [&](const Counters &counters) { write_counters(out, counters); });
        out << '}';
    });
    out << "}\n";
    if (!out) {
        throw OptionError{"cannot write " + path};
    }
}

} // namespace odl
