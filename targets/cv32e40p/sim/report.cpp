#include "report.h"

#include <fstream>

namespace odl {
namespace {

void write_counters(std::ostream &out, const Counters &counters) {
    out << '[';
    for (int i = 0; i < COUNTERS; i++) {
        out << (i == 0 ? "" : ",") << counters[static_cast<size_t>(i)];
    }
    out << ']';
}

void write_fault(std::ostream &out, const Fault &fault) {
    out << "{\"kind\":\"" << fault.kind << "\",\"message\":\"" << fault.message
        << "\",\"core\":" << fault.core << ",\"pc\":" << fault.pc << ",\"address\":";
    if (fault.has_address) {
        out << fault.address;
    } else {
        out << "null";
    }
    out << '}';
}

} // namespace

void write_report(const std::string &path, const Cluster &cluster, double seconds, double cpu_seconds) {
    std::ofstream out(path);
    out << "{\"cycles\":" << cluster.cycles() << ",\"seconds\":" << seconds
        << ",\"cpu_seconds\":" << cpu_seconds << ",\"exit_status\":";
    if (cluster.peripherals().exited()) {
        out << cluster.peripherals().exit_status();
    } else {
        out << "null";
    }
    out << ",\"fault\":";
    if (cluster.fault()) {
        write_fault(out, *cluster.fault());
    } else {
        out << "null";
    }
    out << ",\"counter_names\":[";
    for (size_t i = 0; i < COUNTER_NAMES.size(); i++) {
        out << (i == 0 ? "\"" : ",\"") << COUNTER_NAMES[i] << '"';
    }
    out << "],\n\"cores\":[";
    const char *separator = "";
    for (const auto &core : cluster.cores()) {
        out << separator << "{\"pc\":" << core->signals().pc_execute_o
            << ",\"asleep\":" << (core->asleep ? "true" : "false") << ",\"counters\":";
        write_counters(out, core->counters());
        out << '}';
        separator = ",\n";
    }
    out << "],\n\"marks\":[";
    separator = "";
    for (const Mark &mark : cluster.peripherals().marks()) {
        out << separator << "{\"id\":" << mark.id << ",\"cycle\":" << mark.cycle << ",\"counters\":[";
        for (size_t i = 0; i < mark.counters.size(); i++) {
            out << (i == 0 ? "" : ",");
            write_counters(out, mark.counters[i]);
        }
        out << "]}";
        separator = ",\n";
    }
    out << "]}\n";
    if (!out) {
        throw OptionError{"cannot write " + path};
    }
}

} // namespace odl
