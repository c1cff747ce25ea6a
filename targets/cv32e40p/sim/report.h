// The result of a run as JSON, for the program that started the simulator.
#pragma once

#include <string>

#include "cluster.h"

namespace odl {

// Throws OptionError if the file cannot be written.
void write_report(const std::string &path, const Cluster &cluster, double seconds, double cpu_seconds);

} // namespace odl
