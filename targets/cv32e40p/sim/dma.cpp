#include "dma.h"

#include <algorithm>
#include <cstring>

#include "event_unit.h"
#include "fault.h"

namespace odl {
namespace {

// Fields of the first word of a command
constexpr uint32_t LENGTH_MASK = 0x1FFFF;
constexpr int TO_L1_BIT = 17;
constexpr int STRIDED_BIT = 19;
constexpr int EVENT_BIT = 20;
constexpr int BROADCAST_BIT = 22;
constexpr int STRIDED_L1_BIT = 23;

bool bit(uint32_t word, int n) { return (word >> n & 1) != 0; }

} // namespace

Dma::Dma(int cores, int l2_latency, MemoryMap &memory, EventUnit &events)
    : l2_latency_(static_cast<uint64_t>(l2_latency)), memory_(memory), events_(events),
      commands_(static_cast<size_t>(cores)), counter_of_core_(static_cast<size_t>(cores), -1) {}

bool Dma::allocate_counter(int core, uint32_t &id) {
    const auto free = std::find(allocated_.begin(), allocated_.end(), false);
    if (free == allocated_.end()) {
        return false;
    }
    *free = true;
    id = static_cast<uint32_t>(free - allocated_.begin());
    counter_of_core_[static_cast<size_t>(core)] = static_cast<int>(id);
    return true;
}

uint32_t Dma::status() const {
    uint32_t busy = 0;
    for (size_t i = 0; i < COUNTERS; i++) {
        busy |= (running_[i] != 0 ? 1u : 0u) << i;
    }
    return busy;
}

void Dma::free_counters(uint32_t mask) {
    for (size_t i = 0; i < COUNTERS; i++) {
        if ((mask >> i & 1) != 0) {
            allocated_[i] = false;
        }
    }
}

bool Dma::push_command(int core, uint32_t word, uint64_t now) {
    Command &command = commands_[static_cast<size_t>(core)];
    const uint32_t first = command.count == 0 ? word : command.words[0];
    const size_t length = bit(first, STRIDED_BIT) ? 5 : 3;
    if (command.count + 1 == length && transfers_under_way_ == COUNTERS) {
        return false;
    }
    command.words[command.count++] = word;
    if (command.count == length) {
        start(core, command, now);
        command.count = 0;
    }
    return true;
}

void Dma::start(int core, const Command &command, uint64_t now) {
    const uint32_t head = command.words[0];
    auto transfer = std::make_shared<Transfer>();
    transfer->core = core;
    transfer->to_l1 = bit(head, TO_L1_BIT);
    transfer->event = bit(head, EVENT_BIT);
    transfer->broadcast = bit(head, BROADCAST_BIT);
    transfer->l1_address = command.words[1];
    transfer->l2_address = command.words[2];
    transfer->bytes = head & LENGTH_MASK;
    transfer->unfinished = transfer->bytes;
    const bool strided = bit(head, STRIDED_BIT);
    transfer->line_bytes = strided ? command.words[3] : transfer->bytes;
    transfer->line_stride = strided ? command.words[4] : 0;
    transfer->line_left = transfer->line_bytes;
    transfer->start = now + START_CYCLES;
    if (bit(head, STRIDED_L1_BIT)) {
        throw Fault{"dma", "DMA command with a stride in L1, which is not modelled", core, 0, head, true};
    }
    if (transfer->bytes == 0 || transfer->line_bytes == 0) {
        throw Fault{"dma", "DMA command of no bytes", core, 0, head, true};
    }
    const uint32_t lines = (transfer->bytes - 1) / transfer->line_bytes;
    const uint32_t last_line = transfer->bytes - lines * transfer->line_bytes;
    const uint32_t l2_end = transfer->l2_address + lines * transfer->line_stride;
    if (!memory_.l1.contains(transfer->l1_address, transfer->bytes)) {
        throw Fault{"unmapped", "DMA outside L1", core, 0, transfer->l1_address, true};
    }
    if (!memory_.l2.contains(transfer->l2_address, std::min(transfer->line_bytes, transfer->bytes)) ||
        !memory_.l2.contains(l2_end, last_line)) {
        throw Fault{"unmapped", "DMA outside L2", core, 0, transfer->l2_address, true};
    }
    transfer->counter = counter_of_core_[static_cast<size_t>(core)];
    if (transfer->counter < 0) {
        throw Fault{"dma", "DMA command without a counter allocated", core, 0, head, true};
    }
    running_[static_cast<size_t>(transfer->counter)]++;
    transfers_under_way_++;
    (transfer->to_l1 ? in_ : out_).push_back(std::move(transfer));
}

Dma::Piece Dma::cut(const TransferPointer &transfer, uint32_t limit) const {
    Piece piece;
    piece.valid = true;
    piece.l1_address = transfer->l1_address;
    piece.l2_address = transfer->l2_address;
    piece.bytes = std::min({limit, transfer->bytes, transfer->line_left, 4 - transfer->l1_address % 4});
    piece.transfer = transfer;
    transfer->l1_address += piece.bytes;
    transfer->l2_address += piece.bytes;
    transfer->bytes -= piece.bytes;
    transfer->line_left -= piece.bytes;
    if (transfer->line_left == 0) {
        transfer->l2_address += transfer->line_stride - transfer->line_bytes;
        transfer->line_left = transfer->line_bytes;
    }
    return piece;
}

// One beat: what is left of an aligned block of 8 bytes of L2. Room is kept for what is under way.
void Dma::read_l2(uint64_t now) {
    const size_t capacity = 2 * (static_cast<size_t>(l2_latency_) + 4);
    if (in_.empty() || in_.front()->start > now || arriving_.size() + 3 > capacity) {
        return;
    }
    const TransferPointer transfer = in_.front();
    uint32_t room = std::min(BYTES_PER_CYCLE - transfer->l2_address % BYTES_PER_CYCLE, transfer->line_left);
    while (room != 0 && transfer->bytes != 0) {
        Piece piece = cut(transfer, room);
        room -= piece.bytes;
        std::memcpy(piece.data.data(), memory_.l2.pointer(piece.l2_address), piece.bytes);
        memory_.l2.note(piece.l2_address, piece.bytes, Memory::READ);
        piece.due = now + l2_latency_;
        arriving_.push_back(std::move(piece));
    }
    if (transfer->bytes == 0) {
        in_.pop_front();
    }
}

void Dma::refill_ports(uint64_t now) {
    for (size_t port = 0; port < 2; port++) {
        if (!ports_[port].valid && !arriving_.empty() && arriving_.front().due <= now) {
            ports_[port] = std::move(arriving_.front());
            arriving_.pop_front();
        }
    }
    for (size_t port = 2; port < PORTS; port++) {
        if (!ports_[port].valid && !out_.empty() && out_.front()->start <= now) {
            ports_[port] = cut(out_.front(), 4);
            if (out_.front()->bytes == 0) {
                out_.pop_front();
            }
        }
    }
}

void Dma::prepare(uint64_t now) {
    if (transfers_under_way_ == 0) {
        return;
    }
    while (!leaving_.empty() && leaving_.front().due <= now) {
        const Finish done = leaving_.front();
        leaving_.pop_front();
        finish(done.transfer, done.bytes, now);
    }
    read_l2(now);
    refill_ports(now);
}

void Dma::port_granted(int port, uint64_t now) {
    Piece &piece = ports_[static_cast<size_t>(port)];
    piece.valid = false;
    uint8_t *l1 = memory_.l1.pointer(piece.l1_address);
    if (piece.transfer->to_l1) {
        std::memcpy(l1, piece.data.data(), piece.bytes);
        memory_.l1.note(piece.l1_address, Memory::WRITTEN);
        finish(piece.transfer, piece.bytes, now);
    } else {
        std::memcpy(memory_.l2.pointer(piece.l2_address), l1, piece.bytes);
        memory_.l1.note(piece.l1_address, Memory::READ);
        memory_.l2.note(piece.l2_address, piece.bytes, Memory::WRITTEN);
        leaving_.push_back({now + l2_latency_, piece.bytes, piece.transfer});
    }
    piece.transfer.reset();
}

void Dma::finish(const TransferPointer &transfer, uint32_t bytes, uint64_t now) {
    transfer->unfinished -= bytes;
    if (transfer->unfinished != 0) {
        return;
    }
    transfers_under_way_--;
    running_[static_cast<size_t>(transfer->counter)]--;
    if (transfer->event) {
        events_.raise(EventUnit::DMA_EVENT, transfer->broadcast ? ~0u : 1u << transfer->core, now);
    }
}

} // namespace odl
