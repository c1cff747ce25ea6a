// Registers outside the memories: what a core's load or store there does.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core.h"
#include "dma.h"
#include "event_unit.h"

namespace odl {

// A moment the program marked, with every core's counters.
struct Mark {
    uint32_t id;
    uint64_t cycle;
    std::vector<Counters> counters;
};

class Peripherals {
  public:
    Peripherals(const std::vector<std::unique_ptr<Core>> &cores, Dma &dma, EventUnit &events);

    Outcome read(int core, uint32_t address, uint64_t now, uint32_t &value);
    Outcome write(int core, uint32_t address, uint32_t value, uint64_t now);

    bool exited() const { return exited_; }
    uint32_t exit_status() const { return exit_status_; }
    const std::vector<Mark> &marks() const { return marks_; }
    // Called with the number of every mark, as it is made.
    void listen(std::function<void(uint32_t)> on_mark) { on_mark_ = std::move(on_mark); }
    // Prints what cores have written without ending the line.
    void flush_stdout();
    // The counter for a core that waits at the address.
    Counter wait_reason(int core, uint32_t address) const;

  private:
    Outcome read_dma(int core, uint32_t offset, uint32_t &value);
    Outcome write_dma(int core, uint32_t offset, uint32_t value, uint64_t now);
    uint32_t read_measure(int core, uint32_t offset, uint64_t now) const;
    void put_character(int core, char c);

    const std::vector<std::unique_ptr<Core>> &cores_;
    Dma &dma_;
    EventUnit &events_;
    bool exited_ = false;
    uint32_t exit_status_ = 0;
    bool timer_runs_ = false;
    uint64_t timer_start_ = 0;
    uint64_t timer_held_ = 0;
    std::vector<std::string> lines_;
    std::vector<Mark> marks_;
    std::function<void(uint32_t)> on_mark_;
};

} // namespace odl
