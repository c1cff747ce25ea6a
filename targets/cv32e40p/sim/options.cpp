#include "options.h"

#include <functional>
#include <map>
#include <utility>

namespace odl {
namespace {

uint64_t number(const std::string &option, const std::string &text) {
    try {
        size_t used = 0;
        const uint64_t value = std::stoull(text, &used, 0);
        if (used == text.size()) {
            return value;
        }
    } catch (const std::exception &) {
    }
    throw OptionError{option + ": not a number: " + text};
}

uint32_t word(const std::string &option, const std::string &text) {
    return static_cast<uint32_t>(number(option, text));
}

// What is before and behind a character; `form` is what the text should look like.
std::pair<std::string, std::string> split(const std::string &option, const std::string &text, char character,
                                          const char *form) {
    const size_t place = text.find(character);
    if (place == std::string::npos) {
        throw OptionError{option + ": expected " + form + ", got " + text};
    }
    return {text.substr(0, place), text.substr(place + 1)};
}

AddressRange address_range(const std::string &option, const std::string &text,
                           const char *form = "ADDRESS:BYTES") {
    const auto [address, bytes] = split(option, text, ':', form);
    return {word(option, address), word(option, bytes)};
}

FileRange load_range(const std::string &option, const std::string &text) {
    const auto [address, path] = split(option, text, '=', "ADDRESS=PATH");
    return {word(option, address), 0, path};
}

FileRange dump_range(const std::string &option, const std::string &text) {
    constexpr const char *FORM = "ADDRESS:BYTES=PATH";
    const auto [place, path] = split(option, text, '=', FORM);
    const AddressRange range = address_range(option, place, FORM);
    return {range.address, range.bytes, path};
}

Watch watch(const std::string &option, const std::string &text) {
    constexpr const char *FORM = "MARK:ADDRESS:BYTES";
    const auto [mark, place] = split(option, text, ':', FORM);
    return {word(option, mark), address_range(option, place, FORM)};
}

bool power_of_two(uint64_t n) { return n != 0 && (n & (n - 1)) == 0; }

void check(const MachineOptions &machine) {
    const auto require = [](bool holds, const char *what) {
        if (!holds) {
            throw OptionError{what};
        }
    };
    require(machine.workers >= 1 && machine.workers <= 16, "--cores: 1 to 16");
    require(machine.fpu_units >= 0 && machine.fpu_units <= machine.workers,
            "--fpu-units: 0 to the number of cores");
    require(power_of_two(machine.l1_banks) && machine.l1_banks <= 64, "--l1-banks: a power of two up to 64");
    require(machine.l1_bytes >= 1024 && machine.l1_bytes <= 2 * 1024 * 1024 && machine.l1_bytes % 1024 == 0,
            "--l1-bytes: a multiple of 1024 up to 2 MiB");
    require(machine.l2_bytes >= 1024 && machine.l2_bytes <= 64 * 1024 * 1024 && machine.l2_bytes % 1024 == 0,
            "--l2-bytes: a multiple of 1024 up to 64 MiB");
    require(machine.l2_latency >= 1 && machine.l2_latency <= 1000, "--l2-latency: 1 to 1000");
    require(power_of_two(machine.icache_private_bytes) && machine.icache_private_bytes >= 64,
            "--icache-private-bytes: a power of two from 64");
    require(power_of_two(machine.icache_shared_bytes) && machine.icache_shared_bytes >= 256,
            "--icache-shared-bytes: a power of two from 256");
    require(machine.icache_shared_latency >= 1 && machine.icache_shared_latency <= 100,
            "--icache-shared-latency: 1 to 100");
}

} // namespace

Options parse_options(int argc, char **argv) {
    Options options;
    MachineOptions &machine = options.machine;
    using Setter = std::function<void(const std::string &, const std::string &)>;
    const auto integer = [](auto &target) -> Setter {
        return [&target](const std::string &name, const std::string &text) {
            target = static_cast<std::remove_reference_t<decltype(target)>>(number(name, text));
        };
    };
    const auto text = [](std::string &target) -> Setter {
        return [&target](const std::string &, const std::string &value) { target = value; };
    };
    const std::map<std::string, Setter> setters = {
        {"--cores", integer(machine.workers)},
        {"--controller", integer(machine.controller)},
        {"--fpu-units", integer(machine.fpu_units)},
        {"--l1-bytes", integer(machine.l1_bytes)},
        {"--l1-banks", integer(machine.l1_banks)},
        {"--l2-bytes", integer(machine.l2_bytes)},
        {"--l2-latency", integer(machine.l2_latency)},
        {"--icache-ideal", integer(machine.icache_ideal)},
        {"--icache-private-bytes", integer(machine.icache_private_bytes)},
        {"--icache-shared-bytes", integer(machine.icache_shared_bytes)},
        {"--icache-shared-latency", integer(machine.icache_shared_latency)},
        {"--max-cycles", integer(options.max_cycles)},
        {"--threads", integer(options.threads)},
        {"--deliver-traps", integer(options.deliver_traps)},
        {"--trace", text(options.trace.path)},
        {"--trace-first", integer(options.trace.first_cycle)},
        {"--trace-last", integer(options.trace.last_cycle)},
        {"--trace-core", integer(options.trace.core)},
        {"--elf", text(options.elf)},
        {"--result", text(options.result)},
        {"--touched", text(options.touched)},
        {"--stacks", [&](auto &name, auto &value) { options.stacks = address_range(name, value); }},
        {"--watched", text(options.watched)},
        {"--watch", [&](auto &name, auto &value) { options.watches.push_back(watch(name, value)); }},
        {"--load", [&](auto &name, auto &value) { options.loads.push_back(load_range(name, value)); }},
        {"--dump", [&](auto &name, auto &value) { options.dumps.push_back(dump_range(name, value)); }},
        {"--guard", [&](auto &name, auto &value) { options.guards.push_back(address_range(name, value)); }},
    };
    for (int i = 1; i < argc; i += 2) {
        const auto setter = setters.find(argv[i]);
        if (setter == setters.end() || i + 1 == argc) {
            throw OptionError{std::string("unknown option or missing value: ") + argv[i]};
        }
        setter->second(argv[i], argv[i + 1]);
    }
    check(machine);
    if (options.elf.empty()) {
        throw OptionError{"--elf is missing"};
    }
    return options;
}

} // namespace odl
