#include "lockstep.h"

namespace odl {
namespace {

// Spins before a thread with nothing to do lets others have the processor
constexpr int PATIENCE = 4000;
// Some ten milliseconds, longer than the time for which a busy machine stops a thread
constexpr int WINDOW = 4096;
constexpr int SETTLED_WINDOWS = 32;
// How much shorter than alone it must take
constexpr double WORTHWHILE = 0.9;

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

} // namespace

Lockstep::Lockstep(int parts, int threads, std::function<void(int)> step)
    : parts_(parts), step_(std::move(step)), rounds_left_(WINDOW),
      window_begin_(std::chrono::steady_clock::now()) {
    for (int i = 1; i < threads; i++) {
        helpers_.emplace_back([this] { help(); });
    }
}

Lockstep::~Lockstep() {
    stop_ = true;
    let_help(true);
    for (std::thread &helper : helpers_) {
        helper.join();
    }
}

bool Lockstep::take(End end_taken, int &part) {
    uint64_t left = left_.load(std::memory_order_acquire);
    for (;;) {
        const uint64_t begin = left >> 16 & 0xffff;
        const uint64_t end = left & 0xffff;
        if (begin == end) {
            return false;
        }
        const bool first = end_taken == End::first;
        const uint64_t rest = pack(left >> 32, first ? begin + 1 : begin, first ? end : end - 1);
        if (left_.compare_exchange_weak(left, rest, std::memory_order_acq_rel)) {
            part = static_cast<int>(first ? begin : end - 1);
            return true;
        }
    }
}

void Lockstep::run(int work) {
    if (helped_.load(std::memory_order_relaxed)) {
        run_helped();
    } else {
        run_alone();
    }
    work_done_ += static_cast<uint64_t>(work);
    if (!helpers_.empty() && --rounds_left_ == 0) {
        end_window();
    }
}

void Lockstep::end_window() {
    const auto now = std::chrono::steady_clock::now();
    const double time =
        std::chrono::duration<double>(now - window_begin_).count() / static_cast<double>(work_done_);
    window_begin_ = now;
    work_done_ = 0;
    rounds_left_ = WINDOW;
    switch (phase_) {
    case Phase::alone:
        time_alone_ = time;
        phase_ = Phase::helped;
        let_help(true);
        break;
    case Phase::helped:
        phase_ = Phase::settled;
        windows_left_ = SETTLED_WINDOWS;
        let_help(time < WORTHWHILE * time_alone_);
        break;
    case Phase::settled:
        if (--windows_left_ == 0 || (helped_ && time > time_alone_)) {
            phase_ = Phase::alone;
            let_help(false);
        }
        break;
    }
}

void Lockstep::let_help(bool helped) {
    helped_ = helped;
    helped_.notify_all();
}

void Lockstep::run_alone() {
    for (int part = 0; part < parts_; part++) {
        step_(part);
    }
}

void Lockstep::run_helped() {
    done_by_helpers_.store(0, std::memory_order_relaxed);
    left_.store(pack(++round_, 0, static_cast<uint64_t>(parts_)), std::memory_order_release);
    int part = 0;
    int mine = 0;
    while (take(End::first, part)) {
        step_(part);
        mine++;
    }
    for (int spins = 0; done_by_helpers_.load(std::memory_order_acquire) != parts_ - mine; spins++) {
        pause();
        if (spins > PATIENCE) {
            std::this_thread::yield();
        }
    }
}

void Lockstep::help() {
    int idle = 0;
    int part = 0;
    while (!stop_.load(std::memory_order_relaxed)) {
        helped_.wait(false, std::memory_order_relaxed);
        if (take(End::last, part)) {
            step_(part);
            done_by_helpers_.fetch_add(1, std::memory_order_acq_rel);
            idle = 0;
        } else {
            pause();
            if (++idle > PATIENCE) {
                std::this_thread::yield();
            }
        }
    }
}

} // namespace odl
