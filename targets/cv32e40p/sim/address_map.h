// Where things are, as on GVSoC's pulp-open (docs/cluster.md has the table).
#pragma once

#include <cstdint>

namespace odl::address {

constexpr uint32_t L1 = 0x10000000;
constexpr uint32_t L2 = 0x1C000000;

constexpr uint32_t CLUSTER_PERIPHERALS = 0x10200000;
constexpr uint32_t CLUSTER_CONTROL = 0x10200000;
constexpr uint32_t TIMER = 0x10200400;
constexpr uint32_t EVENT_UNIT_ALL = 0x10200800; // every core's registers
constexpr uint32_t ICACHE_CONTROL = 0x10201400;
constexpr uint32_t DMA = 0x10201800;
constexpr uint32_t EVENT_UNIT_CORE = 0x10204000; // the calling core's registers
constexpr uint32_t DMA_CORE = 0x10204400;
constexpr uint32_t CLUSTER_PERIPHERALS_END = 0x10205000;

constexpr uint32_t EXIT = 0x1A1040A0;
constexpr uint32_t FC_ICACHE_CONTROL = 0x1A108800;
constexpr uint32_t STDOUT = 0x1A10F000;
constexpr uint32_t STDOUT_END = 0x1A110000;

// This simulator's own: marks and counters, where pulp-open has nothing.
constexpr uint32_t MEASURE = 0x1A10E000;
constexpr uint32_t MEASURE_END = 0x1A10E200;

} // namespace odl::address
