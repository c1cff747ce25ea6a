// The simulator's command line. Exit code 0: the run is over and the result file says how; 2: bad options or
// files.
#include <chrono>
#include <cstdio>
#include <ctime>
#include <memory>

#include "cluster.h"
#include "files.h"
#include "report.h"

namespace {

void simulate(const odl::Options &options) {
    odl::MemoryMap memory{odl::Memory(odl::address::L1, options.machine.l1_bytes),
                          odl::Memory(odl::address::L2, options.machine.l2_bytes)};
    const uint32_t entry = odl::load_elf(options.elf, memory);
    for (const odl::FileRange &range : options.loads) {
        odl::load_file(range, memory);
    }
    for (const odl::AddressRange &guard : options.guards) {
        odl::Memory *guarded = memory.find(guard.address, guard.bytes);
        if (guarded == nullptr) {
            throw odl::OptionError{"--guard: outside L1 and L2"};
        }
        guarded->note(guard.address, guard.bytes, odl::Memory::GUARD);
    }
    odl::Cluster cluster(options, memory, entry);
    std::unique_ptr<odl::Watcher> watcher;
    if (!options.watched.empty()) {
        watcher = std::make_unique<odl::Watcher>(options, memory);
        cluster.listen([&](uint32_t mark) { watcher->mark(mark); });
    }
    const auto begin = std::chrono::steady_clock::now();
    const std::clock_t cpu_begin = std::clock();
    cluster.run();
    const double cpu_seconds = static_cast<double>(std::clock() - cpu_begin) / CLOCKS_PER_SEC;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    for (const odl::FileRange &range : options.dumps) {
        odl::dump_file(range, memory);
    }
    watcher.reset(); // closes the file
    if (!options.touched.empty()) {
        odl::dump_touched(options.touched, memory);
    }
    if (!options.result.empty()) {
        odl::write_report(options.result, cluster, took.count(), cpu_seconds);
    }
}

} // namespace

int main(int argc, char **argv) {
    try {
        simulate(odl::parse_options(argc, argv));
    } catch (const odl::OptionError &error) {
        std::fprintf(stderr, "simulator: %s\n", error.message.c_str());
        return 2;
    }
    return 0;
}
