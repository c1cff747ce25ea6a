// The DMA engine between L2 and L1: PULP's mchan version 7 as a program sees it, moving 8 bytes per cycle and
// direction.
//
// Each direction is a pipeline that transfers pass through one after the other, back to back, so the latency
// of L2 shows only once in a train of transfers. On the L1 side each direction has two ports of a word each,
// which compete for banks like a core; a word that lost its bank is asked for again in the next cycle, and
// until then the port holds up the words behind it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "memory.h"

namespace odl {

class EventUnit;

class Dma {
  public:
    static constexpr int PORTS = 4; // two towards L1, two from L1
    static constexpr int COUNTERS = 16;
    static constexpr uint32_t BYTES_PER_CYCLE = 8;
    static constexpr uint64_t START_CYCLES = 4; // from the last word of a command to its first beat

    Dma(int cores, int l2_latency, MemoryMap &memory, EventUnit &events);

    // The registers. `false`: not now, ask again in the next cycle.
    bool allocate_counter(int core, uint32_t &id);
    // A bad command throws Fault.
    bool push_command(int core, uint32_t word, uint64_t now);
    uint32_t status() const;
    void free_counters(uint32_t mask);

    // L2 side and refilling of the ports; call before arbitration.
    void prepare(uint64_t now);
    // The L1 address a port asks for in this cycle.
    bool port_requests(int port) const { return ports_[static_cast<size_t>(port)].valid; }
    uint32_t port_address(int port) const { return ports_[static_cast<size_t>(port)].l1_address; }
    // The port got its bank: moves the word.
    void port_granted(int port, uint64_t now);

    bool busy() const { return transfers_under_way_ != 0; }

  private:
    struct Transfer {
        int counter = 0;
        int core = 0;
        bool to_l1 = false;
        bool event = false;
        bool broadcast = false;
        uint32_t l1_address = 0;
        uint32_t l2_address = 0;
        uint32_t bytes = 0;       // still to be put into pieces
        uint32_t unfinished = 0;  // still to arrive
        uint32_t line_bytes = 0;  // 2D: length of a line in L2 …
        uint32_t line_stride = 0; // … and from line to line
        uint32_t line_left = 0;
        uint64_t start = 0;
    };
    using TransferPointer = std::shared_ptr<Transfer>;

    // At most a word, inside one word of L1.
    struct Piece {
        bool valid = false;
        uint32_t l1_address = 0;
        uint32_t l2_address = 0;
        uint32_t bytes = 0;
        uint64_t due = 0; // when its data has come from L2
        std::array<uint8_t, 4> data{};
        TransferPointer transfer;
    };
    struct Command {
        std::array<uint32_t, 5> words{};
        size_t count = 0;
    };
    struct Finish {
        uint64_t due;
        uint32_t bytes;
        TransferPointer transfer;
    };

    void start(int core, const Command &command, uint64_t now);
    // Cuts the next piece off a transfer: inside a line, inside a word of L1 and at most `limit` bytes.
    Piece cut(const TransferPointer &transfer, uint32_t limit) const;
    void read_l2(uint64_t now);
    void refill_ports(uint64_t now);
    void finish(const TransferPointer &transfer, uint32_t bytes, uint64_t now);

    uint64_t l2_latency_;
    MemoryMap &memory_;
    EventUnit &events_;
    std::vector<Command> commands_;    // being written, one per core
    std::vector<int> counter_of_core_; // allocated last: what the core's commands are counted under
    std::deque<TransferPointer> in_;   // L2 to L1
    std::deque<TransferPointer> out_;  // L1 to L2
    std::deque<Piece> arriving_;       // read from L2, on the way to the ports
    std::deque<Finish> leaving_;       // written towards L2
    std::array<Piece, PORTS> ports_;
    std::array<bool, COUNTERS> allocated_{};
    std::array<uint32_t, COUNTERS> running_{}; // transfers of each counter
    int transfers_under_way_ = 0;
};

} // namespace odl
