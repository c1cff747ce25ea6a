"""The verifier passes sound plans and catches every fault that corrupts one, and no other."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odl.errors import CheckFailedError
from odl.graph.ir import Purpose
from odl.plan.buffers import ALIGNMENT, Buffer, MemoryPlan, Placement
from odl.plan.pack import plan_memory
from odl.plan.replay import Access, PlanError, verify_plan

LAST_STEP = 14


@st.composite
def buffer_lists(draw):
    buffers = []
    for index in range(draw(st.integers(1, 10))):
        first = draw(st.integers(0, 9))
        last = first + draw(st.integers(0, 5))
        size, kept = draw(st.integers(1, 60)), draw(st.integers(0, 4)) == 0
        purpose = Purpose.WEIGHTS if kept else Purpose.ACTIVATIONS
        buffers.append(Buffer(f"b{index}", size, purpose, first, last, persistent=kept))
    return buffers


def schedule(buffers):
    """Written at the first step of their life, read at the last; persistent ones only read, at the first."""
    accesses = []
    for step in range(LAST_STEP + 1):
        reads = [b.name for b in buffers if b.persistent and b.first_step == step]
        reads += [b.name for b in buffers if not b.persistent and b.first_step < b.last_step == step]
        writes = [b.name for b in buffers if not b.persistent and b.first_step == step]
        accesses.append(Access(step, tuple(reads), tuple(writes)))
    return accesses


def verify(plan, buffers, accesses=None):
    verify_plan(
        plan,
        schedule(buffers) if accesses is None else accesses,
        storage={buffer.name: buffer.name for buffer in buffers},
        sizes={buffer.name: buffer.size_bytes for buffer in buffers},
        initial={buffer.name for buffer in buffers if buffer.persistent},
    )


def make_plan(buffers) -> MemoryPlan:
    return plan_memory(buffers, "ram", None, solver_time=0)


def is_corrupt(plan, buffers):
    """The same question asked of all pairs of true lifetimes, not by replay."""
    true = {buffer.name: buffer for buffer in buffers}
    placed = [Placement(true[item.buffer.name], item.offset) for item in plan.placements]
    for item in placed:
        kept, border = item.buffer.persistent, plan.persistent_bytes
        wrong_region = item.end > border if kept else item.offset < border
        outside = item.offset < 0 or item.end > plan.arena_bytes
        if outside or wrong_region or item.offset % ALIGNMENT:
            return True
    return any(
        one.buffer.meets(two.buffer) and one.offset < two.end and two.offset < one.end
        for one, two in combinations(placed, 2)
    )


def with_offsets(plan, changed):
    return replace(
        plan,
        placements=tuple(
            replace(item, offset=changed.get(item.buffer.name, item.offset)) for item in plan.placements
        ),
    )


def check_verdict(plan, buffers):
    if is_corrupt(plan, buffers):
        with pytest.raises(PlanError, match="memory plan: "):
            verify(plan, buffers)
    else:
        verify(plan, buffers)


@settings(max_examples=150)
@given(buffer_lists())
def test_sound_plans_pass(buffers):
    assert not is_corrupt(make_plan(buffers), buffers)
    verify(make_plan(buffers), buffers)


@settings(max_examples=200)
@given(buffer_lists(), st.data())
def test_one_shifted_offset(buffers, data):
    plan = make_plan(buffers)
    item = data.draw(st.sampled_from(plan.placements))
    shift = data.draw(st.integers(-80, 80))
    check_verdict(with_offsets(plan, {item.buffer.name: item.offset + shift}), buffers)


@settings(max_examples=150)
@given(buffer_lists(), st.data())
def test_two_swapped_buffers(buffers, data):
    plan = make_plan(buffers)
    one, two = data.draw(st.sampled_from(plan.placements)), data.draw(st.sampled_from(plan.placements))
    check_verdict(with_offsets(plan, {one.buffer.name: two.offset, two.buffer.name: one.offset}), buffers)


@settings(max_examples=150)
@given(buffer_lists(), st.data())
def test_one_lifetime_planned_too_short(buffers, data):
    index = data.draw(st.integers(0, len(buffers) - 1))
    chosen = buffers[index]
    last = data.draw(st.integers(chosen.first_step, chosen.last_step))
    planned = [*buffers[:index], replace(chosen, last_step=last), *buffers[index + 1 :]]
    check_verdict(make_plan(planned), buffers)


@settings(max_examples=60)
@given(buffer_lists())
def test_an_arena_too_small(buffers):
    plan = make_plan(buffers)
    smaller = replace(plan, arena_bytes=max(item.end for item in plan.placements) - 1)
    with pytest.raises(PlanError, match="leaves the arena"):
        verify(smaller, buffers)


@settings(max_examples=60)
@given(buffer_lists(), st.data())
def test_one_unaligned_buffer(buffers, data):
    plan = make_plan(buffers)
    item = data.draw(st.sampled_from(plan.placements))
    moved = with_offsets(plan, {item.buffer.name: item.offset + data.draw(st.integers(1, 3))})
    # Room at the end, so that the first fault met is not that the buffer leaves the arena or its region.
    roomy = replace(moved, arena_bytes=moved.arena_bytes + 8)
    with pytest.raises(PlanError, match=r"not aligned|persistent region"):
        verify(roomy, buffers)


@settings(max_examples=100)
@given(buffer_lists())
def test_two_buffers_that_meet_laid_over_each_other(buffers):
    """The message names one of the two."""
    plan = make_plan(buffers)
    for one, two in combinations(plan.placements, 2):
        if one.buffer.persistent or two.buffer.persistent or not one.buffer.meets(two.buffer):
            continue
        with pytest.raises(PlanError, match=f"'{one.buffer.name}'|'{two.buffer.name}'"):
            verify(
                replace(with_offsets(plan, {two.buffer.name: one.offset}), arena_bytes=plan.arena_bytes + 64),
                buffers,
            )


# --------------------------------------------------------------------------------------------- single stories
def place(*entries, arena=64, persistent=0, capacity=None):
    """A plan from (name, offset, size, persistent?) written by hand."""
    placements = tuple(
        Placement(Buffer(name, size, Purpose.ACTIVATIONS, 0, 0, persistent=kept), offset)
        for name, offset, size, kept in entries
    )
    return MemoryPlan("ram", capacity, arena, persistent, placements, 0, 0)


def replay(plan, *steps, storage=None, sizes=None, **options):
    """Steps as (reads, writes), each names with a space between."""
    accesses = [
        Access(i, tuple(reads.split()), tuple(writes.split())) for i, (reads, writes) in enumerate(steps)
    ]
    storage = storage or {item.buffer.name: item.buffer.name for item in plan.placements}
    known = {item.buffer.name: item.buffer.size_bytes for item in plan.placements}
    sizes = sizes or {tensor: known.get(buffer, 4) for tensor, buffer in storage.items()}
    verify_plan(plan, accesses, storage=storage, sizes=sizes, **options)


def test_the_message_names_tensor_step_bytes_and_intruder():
    plan = place(("a", 0, 16, False), ("b", 12, 8, False))
    with pytest.raises(CheckFailedError) as caught:
        replay(plan, ("", "a"), ("", "b"), ("a", ""))
    assert str(caught.value) == (
        "memory plan: step 2 of run 1 reads tensor 'a', but 4 of its 16 bytes, the first at byte 12 of "
        "'ram', were overwritten by 'b' at step 1"
    )


def test_reading_what_nothing_wrote():
    with pytest.raises(PlanError, match=r"step 0 of run 1 reads tensor 'a', which nothing has written"):
        replay(place(("a", 0, 16, False)), ("a", ""))


def test_a_persistent_tensor_lost_after_its_last_use_is_missed_by_the_next_call():
    plan = place(("w", 0, 16, True), ("copy", 16, 16, True), arena=48, persistent=32)
    steps = (("w", "gradient"), ("gradient w", "w"))
    storage = {"w": "w", "copy": "copy", "gradient": "copy"}
    replay(plan, *steps, storage=storage, initial={"w"})
    with pytest.raises(
        PlanError, match=r"after run 1 the next call needs tensor 'copy'.*'gradient' at step 0"
    ):
        replay(plan, *steps, storage=storage, initial={"w", "copy"})
    # As in a mixed-precision step: the update writes the copy again.
    replay(plan, steps[0], ("gradient w", "w copy"), storage=storage, initial={"w", "copy"})


def test_in_place_is_one_buffer_under_two_names():
    plan = place(("a", 0, 16, False), ("b", 16, 16, False))
    storage = {"x": "a", "relu": "a", "y": "b"}
    replay(plan, ("", "x"), ("x", "relu"), ("relu", "y"), ("y", ""), storage=storage)
    with pytest.raises(PlanError, match=r"step 3 of run 1 reads tensor 'x'.*overwritten by 'relu' at step 1"):
        replay(plan, ("", "x"), ("x", "relu"), ("relu", "y"), ("x", ""), storage=storage)


def test_a_result_over_an_operand_that_is_not_in_place():
    plan = place(("a", 0, 16, False), ("b", 8, 16, False))
    with pytest.raises(
        PlanError, match=r"step 1 writes tensor 'b' and reads tensor 'a', which share 8 bytes"
    ):
        replay(plan, ("", "a"), ("a", "b"), ("b", ""))


def test_two_results_of_one_step_over_each_other():
    plan = place(("out", 0, 16, False), ("scratch", 12, 16, False))
    with pytest.raises(
        PlanError, match=r"writes tensor 'out' and writes tensor 'scratch', which share 4 bytes"
    ):
        replay(plan, ("", "out scratch"))


def test_two_tensors_at_the_start_of_a_buffer():
    plan = place(("ab", 0, 16, False), ("c", 16, 16, False))
    storage, sizes = {"a": "ab", "b": "ab", "c": "c"}, {"a": 8, "b": 8, "c": 16}
    with pytest.raises(PlanError, match="'a', but 8 of its 8 bytes"):
        replay(plan, ("", "a"), ("", "b"), ("a b", "c"), storage=storage, sizes=sizes)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (
            place(("w", 0, 16, True), ("v", 12, 16, True), persistent=32),
            "buffers 'w' and 'v' share bytes 12 to 16",
        ),
        (
            place(("w", 0, 16, True), ("v", 16, 16, True), persistent=16),
            "'v' .* leaves the persistent region",
        ),
        (
            place(("w", 0, 16, True), ("x", 12, 16, False), persistent=16),
            "'x' .* lies in the persistent region",
        ),
        (place(("x", -4, 16, False)), "'x' at bytes -4 to 12 of 'ram' leaves the arena"),
        (place(("x", 6, 16, False)), "'x' at byte 6 of 'ram' is not aligned to 4"),
        (place(("x", 0, 8, False), ("x", 8, 8, False)), "'x' has two places"),
        (place(("x", 0, 8, False), capacity=60), "arena of 64 bytes in 'ram', which has 60"),
    ],
)
def test_layouts_that_no_schedule_makes_good(plan, message):
    with pytest.raises(PlanError, match=message):
        replay(plan)


def test_what_is_not_known_is_named():
    plan = place(("x", 0, 16, False))
    with pytest.raises(PlanError, match="step 0 uses tensor 'y', which has no storage"):
        replay(plan, ("", "y"))
    with pytest.raises(PlanError, match="tensor 'x' lies in buffer 'z', which has no place"):
        replay(plan, storage={"x": "z"})
    with pytest.raises(PlanError, match="size of tensor 'x'"):
        replay(plan, storage={"x": "x"}, sizes={"other": 4})
    with pytest.raises(PlanError, match="tensor 'x' is bytes 0 to 20 of buffer 'x', which has 16"):
        replay(plan, storage={"x": "x"}, sizes={"x": 20})
    with pytest.raises(PlanError, match="'y', kept between calls, has no storage"):
        replay(plan, initial={"y"})
    with pytest.raises(PlanError, match="'x' must survive between calls, but its buffer 'x' is transient"):
        replay(plan, initial={"x"})
    with pytest.raises(PlanError, match="step 3 comes after step 3"):
        verify_plan(plan, [Access(3, (), ("x",)), Access(3, ("x",), ())], storage={"x": "x"}, sizes={"x": 16})


def test_two_kept_tensors_may_not_share_bytes():
    plan = place(("w", 0, 16, True), persistent=16)
    with pytest.raises(PlanError, match=r"'v' and 'w', both kept between calls, share 16 bytes"):
        replay(plan, storage={"w": "w", "v": "w"}, initial={"w", "v"})
