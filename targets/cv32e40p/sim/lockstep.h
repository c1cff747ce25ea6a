// Steps independent parts of a cycle on several threads of the host.
//
// Threads take parts one after the other, the main thread from the front and helpers from the back, so that
// each mostly gets the parts whose state it has in its cache. Nobody waits for a helper that has not begun.
// On a machine that is busy otherwise a helper may still be stopped in the middle of its part, and all wait;
// so from time to time it is measured whether helpers pay, and where they do not they sleep.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace odl {

class Lockstep {
  public:
    // `step` is called with 0 … parts-1 in every round, from any thread, and must not throw.
    Lockstep(int parts, int threads, std::function<void(int)> step);
    ~Lockstep();
    Lockstep(const Lockstep &) = delete;
    Lockstep &operator=(const Lockstep &) = delete;

    // One round; returns when every part has been stepped. `work` is how much there is to do, in any unit.
    void run(int work);

  private:
    // Parts begin … end-1 of round `round` are still to be taken: round in the upper 32 bits, then begin,
    // then end.
    static uint64_t pack(uint64_t round, uint64_t begin, uint64_t end) {
        return round << 32 | begin << 16 | end;
    }
    // Measure alone, then with helpers, then go on in the faster way for a while.
    enum class Phase { alone, helped, settled };

    void run_alone();
    void run_helped();
    void end_window();
    void let_help(bool helped);
    // Takes a part from one end of those that are left; false if there is none.
    enum class End { first, last };
    bool take(End end_taken, int &part);
    void help();

    int parts_;
    std::function<void(int)> step_;
    uint64_t round_ = 0;
    alignas(64) std::atomic<uint64_t> left_{0};
    alignas(64) std::atomic<int> done_by_helpers_{0};
    alignas(64) std::atomic<bool> stop_{false};
    std::atomic<bool> helped_{false};
    Phase phase_ = Phase::alone;
    int windows_left_ = 0; // of the settled phase
    int rounds_left_;      // until the window ends
    uint64_t work_done_ = 0;
    double time_alone_ = 0; // per unit of work
    std::chrono::steady_clock::time_point window_begin_;
    std::vector<std::thread> helpers_;
};

} // namespace odl
