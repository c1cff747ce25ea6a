"""Storages that fail, lie, or hold what no save wrote: every one gives its status, and harms neither weights nor state."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from odl.graph.ir import DType
from odl.project.state_format import (
    DTYPES,
    HEADER_BYTES,
    PAIRS,
    RECORD_BYTES,
    WORD,
    WORDS_ID,
    Header,
    round_up,
)
from odl.project.status import Status
from odl.run.net import Net
from odl.state import Blob
from tests.networks import tiny_build
from tests.odl.state.states import compiled, everything, sealed, trained

BLOCK = 256
DECLARATIONS = """
struct net_storage {
    int (*read)(void *, uint32_t, void *, uint32_t);
    int (*program)(void *, uint32_t, const void *, uint32_t);
    int (*erase)(void *, uint32_t);
    int (*sync)(void *);
    void *context;
    uint32_t block_bytes, program_bytes, slot_blocks;
};
uint32_t net_state_bytes(uint32_t);
net_status net_state_save(const struct net_storage *);
net_status net_state_load(const struct net_storage *);
"""


@dataclass(frozen=True)
class Call:
    """One of a storage."""

    kind: str
    address: int = 0
    size: int = BLOCK

    def meets(self, block: int) -> bool:
        """Whether it is of the block that begins there, too."""
        return self.address < block + BLOCK and block < self.address + self.size


class Flash:
    """A network's two slots; `fails` and `seen`, by the number of a call: whether it fails, and what it reads."""

    def __init__(self, net: Net, program_bytes: int = WORD) -> None:
        self.net, ffi = net, net._ffi
        ffi.cdef(DECLARATIONS)
        self._c: Any = net._lib._functions
        self.slot = round_up(self._c.net_state_bytes(program_bytes), BLOCK)
        self.bytes = bytearray(b"\xff" * 2 * self.slot)
        self.calls: list[Call] = []
        self.fair = True  # what is programmed was erased
        self.fails: Callable[[int], bool] = lambda number: False
        self.seen: Callable[[int, bytes], bytes] = lambda number, data: data
        self._kept = [
            ffi.callback("int(void *, uint32_t, void *, uint32_t)", self._read),
            ffi.callback("int(void *, uint32_t, const void *, uint32_t)", self._program),
            ffi.callback("int(void *, uint32_t)", self._erase),
            ffi.callback("int(void *)", self._sync),
        ]
        sizes = (BLOCK, program_bytes, self.slot // BLOCK)
        self.storage = ffi.new("struct net_storage *", (*self._kept, ffi.NULL, *sizes))

    def _called(self, call: Call) -> bool:
        """Note a call, and say whether it fails."""
        self.calls.append(call)
        return self.fails(len(self.calls) - 1)

    def _read(self, _: Any, address: int, to: Any, size: int) -> int:
        if self._called(Call("read", address, size)):
            return 1
        data = self.seen(len(self.calls) - 1, bytes(self.bytes[address : address + size]))
        self.net._ffi.memmove(to, data, size)
        return 0

    def _program(self, _: Any, address: int, data: Any, size: int) -> int:
        failed = self._called(Call("program", address, size))
        written = bytes(self.net._ffi.buffer(data, size))[: size // 2 if failed else size]
        self.fair &= set(self.bytes[address : address + len(written)]) <= {0xFF}
        self.bytes[address : address + len(written)] = written
        return int(failed)

    def _erase(self, _: Any, address: int) -> int:
        if self._called(Call("erase", address)):
            return 1
        self.bytes[address : address + BLOCK] = b"\xff" * BLOCK
        return 0

    def _sync(self, _: Any) -> int:
        return int(self._called(Call("sync")))

    def save(self) -> Status:
        self.calls.clear()
        status = Status.of(self._c.net_state_save(self.storage))
        assert self.fair
        return status

    def load(self) -> Status:
        self.calls.clear()
        return Status.of(self._c.net_state_load(self.storage))

    def content(self, number: int) -> bytes:
        """What a slot holds."""
        return bytes(self.bytes[number * self.slot :][: self.slot])

    def put(self, number: int, state: bytes) -> None:
        """Another content, and nothing behind it."""
        self.bytes[number * self.slot : (number + 1) * self.slot] = state.ljust(self.slot, b"\xff")


def load(net: Net, state: bytes) -> Status:
    """What the C says of a state in memory, past the checks of Python."""
    return Status.of(net._host.load(net._ffi.from_buffer(state), len(state)))


@pytest.fixture
def net() -> Net:
    return trained(tiny_build(dtype="mixed").load())


def after_another_save(flash: Flash) -> tuple[Mapping[str, bytes], Mapping[str, bytes], bytes]:
    """What the network was when it was saved, what it is after more steps, and the flash in between."""
    assert flash.save() is Status.OK
    old = everything(flash.net)
    before = bytes(flash.bytes)
    return old, everything(trained(flash.net, seed=3)), before


@pytest.mark.parametrize("program_bytes", [1, 2, 4, 8, 64])
def test_a_save_that_fails_at_any_call_keeps_the_state_before(net: Net, program_bytes: int) -> None:
    flash = Flash(net, program_bytes)
    old, new, before = after_another_save(flash)
    blob = net.save()
    assert flash.save() is Status.OK
    kinds = [call.kind for call in flash.calls]
    assert {"read", "program", "erase", "sync"} == set(kinds)
    for number in range(kinds.index("erase"), len(kinds)):
        flash.bytes[:] = before
        flash.fails = lambda at, number=number: at == number  # type: ignore[misc]
        assert flash.save() is Status.STATE_STORAGE
        assert everything(net) == new
        flash.fails = lambda at: False
        assert flash.load() is Status.OK
        finished = number == len(kinds) - 1  # the mark is there
        assert everything(net) == (new if finished else old)
        net.load(blob)


def test_a_block_that_cannot_be_read_is_a_damaged_state(net: Net) -> None:
    flash = Flash(net)
    old, new, before = after_another_save(flash)
    blob, found = net.save(), set()
    for block in range(0, len(flash.bytes), BLOCK):
        flash.bytes[:] = before
        flash.fails = lambda at, block=block: flash.calls[at].kind == "read" and flash.calls[at].meets(block)  # type: ignore[misc]
        saved = flash.save()
        found.add(saved)
        assert everything(net) == new
        assert flash.load() is Status.OK
        assert everything(net) == (new if saved is Status.OK else old)
        net.load(blob)
    assert found == {Status.OK, Status.STATE_STORAGE}


def test_a_save_is_later_than_a_state_that_could_not_be_read_then(net: Net) -> None:
    """The only state's body fails to be read once: the next save must not look older when it can be read again."""
    flash = Flash(net)
    flash.put(0, replace(Blob.of(net.save()), generation=5).to_bytes())
    trained(net, seed=3)
    wanted, block = everything(net), BLOCK

    def once(at: int) -> bool:
        call = flash.calls[at]
        return (
            call.kind == "read"
            and call.meets(block)
            and not any(item.kind == "erase" for item in flash.calls)
        )

    flash.fails = once
    assert flash.save() is Status.OK
    flash.fails = lambda at: False
    trained(net, seed=9)
    assert flash.load() is Status.OK
    assert everything(net) == wanted


def test_what_was_not_written_as_asked_is_no_state(net: Net) -> None:
    flash = Flash(net)
    old, _, before = after_another_save(flash)
    blob = net.save()
    assert flash.save() is Status.OK
    programs = [(at, call.address) for at, call in enumerate(flash.calls) if call.kind == "program"]
    for number, address in programs[:-1]:  # all but the mark
        flash.bytes[:] = before

        def lose(at: int, address: int = address, number: int = number) -> bool:
            if at == number + 1:
                flash.bytes[address] ^= 0x10
            return False

        flash.fails = lose
        assert flash.save() is Status.STATE_STORAGE
        flash.fails = lambda at: False
        assert flash.load() is Status.OK and everything(net) == old
        assert load(net, blob) is Status.OK


#: Sizes that make no sense, and callbacks that are not there.
SIZES: Mapping[str, tuple[Mapping[str, Any], Status]] = {
    "nothing is programmed": ({"program_bytes": 0}, Status.STATE_STORAGE),
    "nothing is erased": ({"block_bytes": 0}, Status.STATE_STORAGE),
    "no blocks": ({"slot_blocks": 0}, Status.STATE_STORAGE),
    "parts of a block": ({"program_bytes": 96}, Status.STATE_STORAGE),
    "parts of a word": ({"block_bytes": 240, "program_bytes": 6}, Status.STATE_STORAGE),
    "blocks of half words": ({"block_bytes": 250, "program_bytes": 2}, Status.STATE_STORAGE),
    "more than addresses reach": ({"slot_blocks": 0x800000}, Status.STATE_STORAGE),
    "no read": ({"read": None}, Status.STATE_STORAGE),
    "no program": ({"program": None}, Status.STATE_STORAGE),
    "no erase": ({"erase": None}, Status.STATE_STORAGE),
    "more at once than the buffer has": (
        {"block_bytes": 4096, "program_bytes": 4096},
        Status.STATE_TOO_SMALL,
    ),
    "a slot too small": ({"slot_blocks": 1}, Status.STATE_TOO_SMALL),
}


@pytest.mark.parametrize(("sizes", "expected"), SIZES.values(), ids=SIZES.keys())
def test_a_storage_that_makes_no_sense_is_not_touched(
    net: Net, sizes: Mapping[str, Any], expected: Status
) -> None:
    flash, before = Flash(net), everything(net)
    for name, value in sizes.items():
        setattr(flash.storage, name, net._ffi.NULL if value is None else value)
    assert flash.save() is expected and flash.load() is expected
    assert flash.calls == [] and everything(net) == before


def test_a_storage_without_a_sync_always_has_what_it_was_given(net: Net) -> None:
    flash = Flash(net)
    flash.storage.sync = net._ffi.NULL
    assert flash.load() is Status.STATE_NONE
    assert flash.save() is Status.OK
    saved = everything(net)
    assert everything(trained(net)) != saved
    assert flash.load() is Status.OK and everything(net) == saved


def test_memory_that_is_too_small_and_units_that_are_none(net: Net) -> None:
    size = net.project.state_bytes
    memory = net._ffi.new("uint8_t[]", b"\xa5" * size)
    assert Status.of(net._host.save(memory, size - 1)) is Status.STATE_TOO_SMALL
    assert bytes(net._ffi.buffer(memory)[:size]) == b"\xa5" * size
    flash = Flash(net)
    assert flash._c.net_state_bytes(0) == flash._c.net_state_bytes(1) == size


@pytest.mark.parametrize("change", ["fails", "another bit"])
def test_a_storage_that_changes_while_it_is_read(net: Net, change: str) -> None:
    """Each read in turn fails or gives one other bit: the saved state, or none, or the network as compiled."""
    flash = Flash(net)
    assert flash.save() is Status.OK
    saved, fresh = everything(net), everything(tiny_build(dtype="mixed").load())
    assert flash.load() is Status.OK
    other = everything(trained(net, seed=5))
    state, reads, found = net.save(), len(flash.calls), set()
    for number in range(reads):
        if change == "fails":
            flash.fails = lambda at, number=number: at == number  # type: ignore[misc]
        else:
            flash.seen = (
                lambda at, data, number=number: (  # type: ignore[misc]
                    bytes([*data[:40], data[40] ^ 4, *data[41:]]) if at == number and len(data) > 40 else data
                )
            )
        status = flash.load()
        found.add(status)
        expected = {Status.OK: saved, Status.STATE_LOST: fresh}.get(status, other)
        assert everything(net) == expected, number
        net.load(state)
    first = Status.STATE_STORAGE if change == "fails" else Status.STATE_DAMAGED
    assert found >= {first, Status.STATE_LOST} and found <= {first, Status.STATE_LOST, Status.OK}


def test_another_state_when_it_is_restored_is_a_lost_one(net: Net) -> None:
    """Whole as it is, it is not the state that was checked."""
    flash, fresh = Flash(net), everything(tiny_build(dtype="mixed").load())
    assert flash.save() is Status.OK
    first, states = bytes(flash.bytes), [everything(net)]
    flash.put(0, sealed(trained(net, seed=2).save(), {Header.GENERATION: 1}))
    second, states = bytes(flash.bytes), [*states, everything(net)]
    assert len(first) == len(second) and first != second
    assert flash.load() is Status.OK
    reads = len(flash.calls)

    def load_with_change(number: int) -> Status:
        """At that read."""

        def seen(at: int, data: bytes) -> bytes:
            address = flash.calls[at].address
            return (first if at < number else second)[address : address + len(data)]

        flash.seen = seen
        return flash.load()

    found = set()
    for number in range(reads + 1):
        other = everything(trained(net, seed=5))
        status = load_with_change(number)
        found.add(status)
        assert everything(net) in {Status.OK: states, Status.STATE_LOST: [fresh]}.get(status, [other])
    assert found == {Status.OK, Status.STATE_DAMAGED, Status.STATE_LOST}
    assert load_with_change(reads // 2) is Status.STATE_LOST


# ------------------------------------------------------------------------------------------------ headers
def headers(size: int) -> Iterator[tuple[Mapping[Header, int], Status]]:
    """Words of headers, with right checksums, of a state of that size."""
    yield {Header.MAGIC: 0x12345678}, Status.STATE_DAMAGED
    yield {Header.VERSION: 2}, Status.STATE_FORMAT
    for unit in (0, 6, size, size - WORD, size - HEADER_BYTES, 0xFFFFFFFC):
        yield {Header.UNIT: unit}, Status.STATE_DAMAGED
    for number in (0, WORD, HEADER_BYTES, size - 2, size + WORD, 0xFFFFFFFC):
        yield {Header.BYTES: number}, Status.STATE_DAMAGED
    for number in (0, 1):
        yield {Header.RECORDS: number}, Status.STATE_NETWORK
    for header, status in (
        (Header.NETWORK, Status.STATE_NETWORK),
        (Header.LOSS, Status.STATE_LOSS),
        (Header.TRAINED, Status.STATE_TRAINED),
        (Header.OPTIMIZER, Status.STATE_OPTIMIZER),
    ):
        yield {header: 1}, status
    yield {Header.NETWORK: 1, Header.OPTIMIZER: 1}, Status.STATE_NETWORK


def test_headers_that_no_save_writes_are_refused_with_the_reason(net: Net) -> None:
    state, before, flash = net.save(), everything(trained(net)), Flash(net)
    for header, expected in headers(len(state)):
        bad = sealed(state, header)
        assert load(net, bad) is expected, header
        flash.put(0, b"")
        flash.put(1, bad)
        if header.get(Header.BYTES) != len(state) + WORD:  # which a slot has room for
            assert flash.load() is expected, header
        assert everything(net) == before
    for size in (0, 3, HEADER_BYTES - 1, HEADER_BYTES, len(state) - 1):
        assert load(net, state[:size]) is Status.STATE_DAMAGED
    half = bytearray(state)
    half[4 * list(Header).index(Header.CHECK)] ^= 1
    assert load(net, bytes(half)) is Status.STATE_DAMAGED
    assert load(net, b"\xff" * len(state)) is Status.STATE_NONE
    assert everything(net) == before


# ------------------------------------------------------------------------------------------------ two slots
def test_the_newest_state_of_the_network_is_taken_and_the_other_slot_written(net: Net) -> None:
    flash = Flash(net)
    states = [trained(net, seed=seed).save() for seed in (1, 2)]
    wanted = []
    for state in states:
        net.load(state)
        wanted.append(everything(net))
    broken = bytearray(states[0])
    broken[-1] ^= 1
    other = sealed(states[0], {Header.LOSS: 1, Header.GENERATION: 9})
    first, second = (
        sealed(state, {Header.GENERATION: number}) for state, number in zip(states, (7, 8), strict=True)
    )
    again = sealed(states[1], {Header.GENERATION: 7})
    # content of the slots, what a load says and which of the states it takes, slot and generation of the next save
    for slots, expected, taken, free, generation in (
        ((first, b""), Status.OK, 0, 1, 8),
        ((b"", second), Status.OK, 1, 0, 9),
        ((first, second), Status.OK, 1, 0, 9),
        ((second, first), Status.OK, 1, 1, 9),
        ((first, again), Status.OK, 0, 1, 8),
        ((first, other), Status.OK, 0, 1, 10),
        ((other, first), Status.OK, 0, 0, 10),
        ((other, b""), Status.STATE_LOSS, None, 1, 10),
        ((other, bytes(broken)), Status.STATE_LOSS, None, 1, 10),
        ((bytes(broken), other), Status.STATE_LOSS, None, 0, 10),
        ((other, other), Status.STATE_LOSS, None, 1, 10),
        ((bytes(broken), b""), Status.STATE_DAMAGED, None, 1, 1),
        ((b"", bytes(broken)), Status.STATE_DAMAGED, None, 0, 1),
        ((b"", b""), Status.STATE_NONE, None, 0, 1),
    ):
        for number, content in enumerate(slots):
            flash.put(number, content)
        net.load(states[1])
        before, kept = everything(trained(net, seed=4)), flash.content(1 - free)
        assert flash.load() is expected
        assert everything(net) == (before if taken is None else wanted[taken])
        assert flash.save() is Status.OK
        assert flash.content(1 - free) == kept
        assert Blob.of(flash.content(free)).generation == generation


# ------------------------------------------------------------------------------------------------ records
def test_words_that_a_state_lacks_start_anew_and_others_are_of_no_use(net: Net) -> None:
    blob = Blob.of(net.save())
    after = everything(net)
    assert net._lib.steps() == 3
    for number in (0, 0x80000000, 0xFFFFFFFF):
        assert load(trained(net), replace(blob, words={**blob.words, number: 5}).to_bytes()) is Status.OK
        assert everything(net) == after and net._lib.steps() == 3
    assert load(net, replace(blob, words={}).to_bytes()) is Status.OK
    assert net._lib.steps() == 0 and net.loss_scale == tiny_build(dtype="mixed").load().loss_scale


def placed(blob: Blob) -> Iterator[tuple[int, int]]:
    """Id of each record, and where it stands."""
    sizes = {item.id: len(item.data) for item in blob.records} | {WORDS_ID: 8 * len(blob.words)}
    at = HEADER_BYTES
    for number, size in sorted(sizes.items()):
        yield number, at
        at += RECORD_BYTES + round_up(size, WORD)


def test_records_that_no_save_writes_are_damage(net: Net) -> None:
    state = net.save()
    places = dict(placed(Blob.of(state)))
    tensor = next(number for number in places if number != WORDS_ID)
    before = everything(trained(net))
    for number, word, content in (
        (tensor, 1, 0),
        (tensor, 1, 9),
        (tensor, 1, PAIRS),
        (WORDS_ID, 1, 1),
        (tensor, 2, 0x40000001),
        (tensor, 2, len(state)),
        (max(places), 0, 0),
        (WORDS_ID, 0, WORDS_ID - 1),
    ):
        bad = bytearray(state)
        struct.pack_into("<I", bad, places[number] + WORD * word, content)
        assert load(net, sealed(bytes(bad), {})) is Status.STATE_DAMAGED, (number, word, content)
        assert everything(net) == before
    blob = Blob.of(state)
    without = sealed(
        bytes(state[: places[WORDS_ID]]) + state[places[WORDS_ID] + RECORD_BYTES + 8 * len(blob.words) :],
        {
            Header.RECORDS: len(blob.records),
            Header.BYTES: len(state) - RECORD_BYTES - 8 * len(blob.words),
        },
    )
    assert load(net, without) is Status.STATE_DAMAGED and everything(net) == before


def test_tensors_of_another_type_size_or_id_are_another_networks(net: Net) -> None:
    blob, before = Blob.of(net.save()), everything(trained(net))
    first, *others = blob.records
    for record in (
        *(replace(first, dtype=dtype) for dtype in DTYPES if dtype not in (DType.F32, DType.F16)),
        replace(first, data=first.data[:-4]),
        replace(first, data=first.data + bytes(4)),
        replace(first, id=first.id ^ 1),
        replace(first, id=0xFFFFFFFE),
    ):
        bad = replace(blob, records=(record, *others)).to_bytes()
        assert load(net, bad) is Status.STATE_NETWORK and everything(net) == before
    more = replace(first, id=0xFFFFFFFE)
    assert load(net, replace(blob, records=(*blob.records, more)).to_bytes()) is Status.OK


def test_the_first_of_several_reasons_is_told(net: Net) -> None:
    blob = Blob.of(net.save())
    kept = [item for item in blob.records if item.dtype is DType.F32]
    bad = [replace(kept[0], data=b"\xff" * len(kept[0].data)), replace(kept[-1], dtype=DType.U8)]
    records = {item.id: item for item in (*blob.records, *bad)}
    assert load(net, replace(blob, records=tuple(records.values())).to_bytes()) is Status.NOT_FINITE


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_no_type_of_weights_takes_what_is_not_finite(dtype: str, number: float) -> None:
    """Neither as it is nor converted."""
    net = trained(compiled(dtype=dtype))
    before = everything(net)
    for kind, code in ((DType.F32, "<f"), (DType.F16, "<e")):
        blob = Blob.of(compiled(dtype="fp32" if kind is DType.F32 else "fp16").save())
        first, *others = blob.records
        bad = replace(first, data=struct.pack(code, number) + first.data[kind.bytes :])
        assert bad.dtype is kind
        assert load(net, replace(blob, records=(bad, *others)).to_bytes()) is Status.NOT_FINITE
        assert everything(net) == before


def test_waiting_gradients_come_all_or_not_at_all() -> None:
    net = trained(compiled(accumulate=True))
    blob = Blob.of(net.save())
    bare = {item.id for item in Blob.of(compiled().save()).records}
    waiting = [item for item in blob.records if item.id not in bare]
    assert len(waiting) == 5
    for missing in waiting:
        records = tuple(item for item in blob.records if item is not missing)
        before = everything(net)
        assert load(net, replace(blob, records=records).to_bytes()) is Status.STATE_WAITING
        assert everything(net) == before
    net.apply()
    rest = Blob.of(net.save())
    records = tuple(item for item in rest.records if item is not rest.records[0] and item.id in bare)
    assert load(net, replace(rest, records=records).to_bytes()) is Status.STATE_NETWORK


def test_a_sum_that_is_infinite_is_taken_as_it_is_and_one_that_is_missing_starts_at_zero() -> None:
    net = trained(compiled(learn=("importance",)))
    blob = Blob.of(net.save())
    own = {item.id for item in Blob.of(compiled().save()).records}
    sums = [item for item in blob.records if item.id not in own]
    assert sums
    infinite = {
        item.id: replace(item, data=struct.pack("<f", float("inf")) * item.count) for item in sums[:1]
    }
    records = tuple(infinite.get(item.id, item) for item in blob.records if item is not sums[1])
    assert load(net, replace(blob, records=records).to_bytes()) is Status.OK
    found = {item.id: item.data for item in Blob.of(net.save()).records}
    assert found[sums[0].id] == infinite[sums[0].id].data
    assert not any(found[sums[1].id]) and found[sums[2].id] == sums[2].data


def test_a_slot_holds_what_is_saved_to_memory() -> None:
    net = compiled()
    flash, data = Flash(net), net.save()
    assert flash.save() is Status.OK
    assert flash.content(0)[: len(data)] == sealed(data, {Header.GENERATION: 1})
