"""Tiles, the plan of L1, and the check that trusts neither."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import odl
from odl.compiler import Compiled, compile_network
from odl.errors import InputError
from odl.kernels.tiling import CHANNELS, FLAT, ConvolutionTiling, Slice, ranges
from odl.operators.convolution import Conv2d
from odl.operators.convolution_gradients import Conv2dInputGradient, Conv2dWeightGradient
from odl.operators.im2row import Im2Row, Im2RowTiling
from odl.operators.window import Window
from odl.options import Options
from odl.plan.replay import PlanError
from odl.plan.staging import Staging, Transfer, WaitForStores
from odl.plan.tasks import Block
from odl.plan.verify_staging import Memories, Places, give, replay
from odl.precision import Precision
from odl.project.programs import INFER, STEP

# --- tiles ------------------------------------------------------------------------------------------------------


def part_of(array: np.ndarray[Any, Any], part: Slice) -> np.ndarray[Any, Any]:
    flat = array.reshape(-1)
    starts = part.offset + np.arange(part.lines) * part.stride
    return np.concatenate([flat[start : start + part.line] for start in starts])


def put(array: np.ndarray[Any, Any], part: Slice, values: np.ndarray[Any, Any]) -> None:
    flat = array.reshape(-1)
    for line in range(part.lines):
        start = part.offset + line * part.stride
        flat[start : start + part.line] += values[line * part.line : (line + 1) * part.line]


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, int]:
    kernel_h, kernel_w = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    pads = [draw(st.integers(0, 2)) for _ in range(4)]
    in_h, in_w = draw(st.integers(kernel_h, 9)), draw(st.integers(kernel_w, 7))
    stride_h, stride_w = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return {
        "batch": draw(st.integers(1, 3)),
        "in_h": in_h,
        "in_w": in_w,
        "in_c": draw(st.integers(1, 5)),
        "out_h": (in_h + pads[0] + pads[2] - kernel_h) // stride_h + 1,
        "out_w": (in_w + pads[1] + pads[3] - kernel_w) // stride_w + 1,
        "out_c": draw(st.integers(1, 5)),
        "kernel_h": kernel_h,
        "kernel_w": kernel_w,
        "stride_h": stride_h,
        "stride_w": stride_w,
        "pad_top": pads[0],
        "pad_left": pads[1],
    }


def window_of(shape: Mapping[str, int]) -> Window:
    """The window with whatever padding below and to the right makes the output's size."""
    below = (shape["out_h"] - 1) * shape["stride_h"] + shape["kernel_h"] - shape["in_h"] - shape["pad_top"]
    right = (shape["out_w"] - 1) * shape["stride_w"] + shape["kernel_w"] - shape["in_w"] - shape["pad_left"]
    return Window(
        (shape["kernel_h"], shape["kernel_w"]),
        (shape["stride_h"], shape["stride_w"]),
        (shape["pad_top"], shape["pad_left"], max(0, below), max(0, right)),
    )


def run_convolution(
    kind: str, depthwise: bool, shape: Mapping[str, int], arrays: list[np.ndarray[Any, Any]]
) -> np.ndarray[Any, Any]:
    """The operator's reference on memory-order arrays; crops the surplus of rows that a clipped padding gives."""
    window = window_of(shape)
    x_shape = (shape["batch"], shape["in_h"], shape["in_w"], shape["in_c"])
    y_shape = (shape["batch"], shape["out_h"], shape["out_w"], shape["out_c"])
    w_shape = (shape["kernel_h"], shape["kernel_w"], shape["out_c"])
    if not depthwise:
        w_shape = (shape["out_c"], shape["kernel_h"], shape["kernel_w"], shape["in_c"])

    def image(array: np.ndarray[Any, Any], sizes: tuple[int, ...]) -> np.ndarray[Any, Any]:
        return array.reshape(sizes).transpose(0, 3, 1, 2)

    def weight(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        shaped = array.reshape(w_shape)
        return shaped.transpose(2, 0, 1)[:, None] if depthwise else shaped.transpose(0, 3, 1, 2)

    if kind == "forward":
        convolution = Conv2d(window, depthwise)
        y = convolution.reference(x=image(arrays[0], x_shape), weight=weight(arrays[1]))["y"]
        y = y[:, :, : shape["out_h"], : shape["out_w"]]
        return np.ascontiguousarray(y.transpose(0, 2, 3, 1)).reshape(-1)
    if kind == "input_gradient":
        size = (x_shape[0], x_shape[3], x_shape[1], x_shape[2])
        operator = Conv2dInputGradient(window, size, depthwise)
        dx = operator.reference(dy=image(arrays[0], y_shape), weight=weight(arrays[1]))["dx"]
        return np.ascontiguousarray(dx.transpose(0, 2, 3, 1)).reshape(-1)
    size = (w_shape[2], 1, *w_shape[:2]) if depthwise else (w_shape[0], w_shape[3], *w_shape[1:3])
    operator_w = Conv2dWeightGradient(window, size, depthwise)
    dw = operator_w.reference(x=image(arrays[0], x_shape), dy=image(arrays[1], y_shape))["dw"]
    order = (2, 3, 0, 1) if depthwise else (0, 2, 3, 1)
    return np.ascontiguousarray(dw.transpose(order)).reshape(-1)


@settings(max_examples=200, deadline=None)
@given(convolutions(), st.sampled_from(["forward", "input_gradient", "weight_gradient"]), st.data())
def test_tiles_of_a_convolution_give_the_whole(shape: dict[str, int], kind: Any, data: st.DataObject) -> None:
    depthwise = data.draw(st.booleans())
    if depthwise:
        shape["out_c"] = shape["in_c"]
    tiling = ConvolutionTiling(kind, depthwise)
    most = tiling.limits(shape)
    parts = tuple(data.draw(st.integers(1, limit)) for limit in most)
    random = np.random.default_rng(0)
    x = random.standard_normal(shape["batch"] * shape["in_h"] * shape["in_w"] * shape["in_c"])
    y = random.standard_normal(shape["batch"] * shape["out_h"] * shape["out_w"] * shape["out_c"])
    taps = shape["kernel_h"] * shape["kernel_w"] * shape["out_c"]
    w = random.standard_normal(taps if depthwise else taps * shape["in_c"])
    inputs, result = {
        "forward": ([x, w], y),
        "input_gradient": ([y, w], x),
        "weight_gradient": ([x, y], w),
    }[kind]
    whole = run_convolution(kind, depthwise, shape, inputs)
    names = {"forward": "x w y", "input_gradient": "dy w dx", "weight_gradient": "x dy dw"}[kind].split()
    counts = dict.fromkeys(names, 1)
    pieced = np.zeros(result.size)
    times = np.zeros(result.size)
    for tile in tiling.tiles(shape, counts, parts):  # type: ignore[arg-type]
        first, second, third = (tile.slices[name] for name in names)
        assert min(tile.shape.values()) >= 0
        made = run_convolution(
            kind, depthwise, tile.shape, [part_of(inputs[0], first), part_of(inputs[1], second)]
        )
        put(pieced, third, made)
        put(times, third, np.ones(third.count))
    assert (times == 1).all()
    np.testing.assert_allclose(pieced, whole, rtol=1e-9, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(convolutions(), st.data())
def test_bands_of_window_rows_give_the_whole(shape: dict[str, int], data: st.DataObject) -> None:
    shape["out_c"] = shape["kernel_h"] * shape["kernel_w"] * shape["in_c"]
    tiling = Im2RowTiling()
    parts = data.draw(st.integers(1, tiling.limits(shape)[0]))

    def rows(shape: dict[str, int], x: Any) -> Any:
        image = x.reshape(shape["batch"], shape["in_h"], shape["in_w"], shape["in_c"]).transpose(0, 3, 1, 2)
        kernel, stride = (shape["kernel_h"], shape["kernel_w"]), (shape["stride_h"], shape["stride_w"])
        far = shape["out_h"] * stride[0] + kernel[0], shape["out_w"] * stride[1] + kernel[1]
        window = Window(kernel, stride, (shape["pad_top"], shape["pad_left"], *far))
        y = Im2Row(window).reference(x=image)["rows"]
        return y[:, :, : shape["out_h"], : shape["out_w"]].transpose(0, 2, 3, 1).reshape(-1)

    x = np.random.default_rng(0).standard_normal(
        shape["batch"] * shape["in_h"] * shape["in_w"] * shape["in_c"]
    )
    whole = rows(shape, x)
    pieced, times = np.zeros(whole.size), np.zeros(whole.size)
    for tile in tiling.tiles(shape, {"x": x.size, "y": whole.size}, (parts, 1)):
        given, made = tile.slices["x"], tile.slices["y"]
        put(pieced, made, rows(dict(tile.shape), part_of(x, given)))
        put(times, made, np.ones(made.count))
    assert (times == 1).all()
    np.testing.assert_array_equal(pieced, whole)


def test_flat_and_channel_tiles_cover_everything_once() -> None:
    for tiles, count in (
        (FLAT.tiles({"count": 1001}, {"x": 1001, "y": 1001}, (7, 1)), 1001),
        (CHANNELS.tiles({"channels": 13, "pixels": 5}, {"x": 65, "gamma": 13}, (4, 1)), 65),
    ):
        seen = np.zeros(count)
        for tile in tiles:
            part = tile.slices["x"]
            put(seen, part, np.ones(part.count))
        assert (seen == 1).all()


@given(st.integers(1, 100), st.integers(1, 120), st.integers(1, 5))
def test_ranges_cover_without_gaps(total: int, parts: int, unit: int) -> None:
    cuts = ranges(total, parts, unit)
    assert cuts[0][0] == 0 and cuts[-1][1] == total
    assert all(begin < end for begin, end in cuts)
    assert all(left[1] == right[0] and left[1] % unit == 0 for left, right in itertools.pairwise(cuts))


def test_blocks_that_share_bytes_meet() -> None:
    rows = Block("t", Slice(0, 64))
    left, right = Block("t", Slice(0, 4, 8, 16)), Block("t", Slice(8, 8, 8, 16))
    assert rows.meets(left) and left.meets(rows)
    assert not left.meets(right)
    assert not rows.meets(Block("other", Slice(0, 64)))
    assert Block("t", Slice(0, 128)).covers(rows) and not rows.covers(right)


# --- whole networks ---------------------------------------------------------------------------------------------


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
        self.second = nn.Conv2d(8, 12, 1)
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Linear(12 * 4 * 4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(self.second(torch.relu(self.depthwise(x))))
        return self.last(self.pool(x).flatten(1))


@functools.cache
def compiled(dtype: str, l1: int, accumulate: bool = False) -> Compiled:
    torch.manual_seed(0)
    options = Options(target="cv32e40p", dtype=Precision(dtype), l1=l1, accumulate=accumulate)
    return compile_network(Small(), torch.zeros(1, 3, 16, 16), "small", options)


@pytest.mark.parametrize("l1", [1024, 4 * 1024, 16 * 1024, 64 * 1024])
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "mixed"])
def test_a_network_is_planned_for_any_small_memory(dtype: str, l1: int) -> None:
    schedule = compiled(dtype, l1, accumulate=dtype == "mixed").network.schedule
    assert schedule.local is not None and schedule.local.arena_bytes <= l1
    assert schedule.local.lower_bound_bytes <= schedule.local.arena_bytes
    assert min(schedule.local.by_purpose.values()) >= 0
    assert sum(schedule.local.by_purpose.values()) == schedule.local.arena_bytes
    tasks = {
        name: len(program.staging.tasks) for name, program in schedule.programs.items() if program.staging
    }
    nodes = {
        name: sum(item.call is not None for item in program.nodes)
        for name, program in schedule.programs.items()
    }
    assert all(tasks[name] >= nodes[name] for name in nodes)
    assert (tasks[STEP] > nodes[STEP]) is (l1 < 16 * 1024 or (dtype == "fp32" and l1 == 16 * 1024))


def test_a_small_memory_that_holds_everything_stores_only_what_must_be_kept() -> None:
    program = compiled("fp16", 64 * 1024).network.schedule.programs[INFER]
    assert program.staging is not None
    outward = [move for move in moves(program.staging) if not move.inward]
    assert [move.block.tensor for move in outward] == list(program.graph.outputs)


def test_no_room_for_the_smallest_task_is_an_error() -> None:
    with pytest.raises(InputError, match="use memory instead of l1 and l2"):
        Options(target="host", l1=100)
    with pytest.raises(InputError, match="memory is the host's; target cv32e40p has two"):
        Options(target="cv32e40p", memory=100)


@pytest.mark.parametrize("l1", [4 * 1024, 16 * 1024])
@pytest.mark.parametrize("dtype", ["fp16", "mixed"])
def test_tiles_on_the_host_give_the_bits_of_one_memory(dtype: str, l1: int) -> None:
    """The order of no sum depends on how a node was divided."""
    torch.manual_seed(0)
    module, example = Small(), torch.zeros(1, 3, 16, 16)
    nets = [
        odl.compile(module, example, dtype=dtype).load("exact"),
        odl.compile(module, example, dtype=dtype, target="cv32e40p", l1=l1).load("exact"),
    ]
    random = np.random.default_rng(1)
    for _ in range(3):
        x, y = random.standard_normal((1, 3, 16, 16)), int(random.integers(10))
        losses = [net.train_step(x, y) for net in nets]
        assert losses[0] == losses[1]
    states = [net.state_dict() for net in nets]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    x = random.standard_normal((2, 3, 16, 16))
    np.testing.assert_array_equal(nets[0].infer(x), nets[1].infer(x))


# --- the check can fail -----------------------------------------------------------------------------------------


def moves(staging: Staging) -> list[Transfer]:
    commands = [move for task in staging.tasks for move in (*task.before, *task.beside)] + list(
        staging.finish
    )
    return [move for move in commands if isinstance(move, Transfer)]


def check(staging: Staging, l1: int = 16 * 1024) -> None:
    """Replay the inference program with some other staging."""
    network = compiled("fp16", l1).network
    program = network.schedule.programs[INFER]
    places = Places(
        {name: name for name in program.graph.values},
        {name: value.size_bytes for name, value in program.graph.values.items()},
        {name: program.offsets.get(name) for name in program.graph.values},
    )
    memories = Memories.of(l1, network.schedule.memory.arena_bytes)
    for name in program.graph.values:
        if program.graph.producer(name) is None:
            give(memories, places, name)
    replay(memories, places, staging, "infer")


def infer_staging(l1: int = 16 * 1024) -> Staging:
    staging = compiled("fp16", l1).network.schedule.programs[INFER].staging
    assert staging is not None
    return staging


def changed(staging: Staging, number: int, **fields: Any) -> Staging:
    tasks = list(staging.tasks)
    tasks[number] = dataclasses.replace(tasks[number], **fields)
    return dataclasses.replace(staging, tasks=tuple(tasks))


def first_task_with(staging: Staging, group: str) -> int:
    return next(
        index
        for index, task in enumerate(staging.tasks)
        if any(isinstance(move, Transfer) and move.inward for move in getattr(task, group))
    )


def test_the_plan_itself_passes() -> None:
    for l1 in (4 * 1024, 16 * 1024):
        check(infer_staging(l1), l1)


@pytest.mark.parametrize("group", ["before", "beside"])
def test_a_forgotten_fetch_is_found(group: str) -> None:
    staging = infer_staging()
    number = first_task_with(staging, group)
    kept = [move for move in getattr(staging.tasks[number], group) if not getattr(move, "inward", False)]
    with pytest.raises(PlanError, match=r"not there or not the newest|nothing has written"):
        check(changed(staging, number, **{group: tuple(kept)}))


def test_a_fetch_that_nobody_waits_for_is_found() -> None:
    staging = infer_staging()
    number = first_task_with(staging, "before")
    task = staging.tasks[number]
    moved = changed(staging, number, before=(), beside=(*task.before, *task.beside))
    with pytest.raises(PlanError, match="still on its way in"):
        check(moved)


def test_a_wrong_address_is_found() -> None:
    staging = infer_staging()
    task = staging.tasks[0]
    block = task.task.reads[0]
    with pytest.raises(PlanError):
        check(changed(staging, 0, addresses={**task.addresses, block: task.addresses[block] + 4}))


def test_operands_that_share_bytes_are_found() -> None:
    staging = infer_staging()
    task = staging.tasks[0]
    written, read = task.task.writes[0], task.task.reads[0]
    onto = min(task.addresses[read], 16 * 1024 - written.room)
    with pytest.raises(PlanError, match="share bytes"):
        check(changed(staging, 0, addresses={**task.addresses, written: onto}, beside=()))


def test_a_result_that_is_not_stored_is_found() -> None:
    network = compiled("fp16", 4 * 1024).network
    staging = infer_staging(4 * 1024)
    program = network.schedule.programs[INFER]
    output = program.graph.outputs[0]
    finish = tuple(
        move for move in staging.finish if isinstance(move, WaitForStores) or move.block.tensor != output
    )
    assert finish != staging.finish
    places = Places(
        {name: name for name in program.graph.values},
        {name: value.size_bytes for name, value in program.graph.values.items()},
        {name: program.offsets.get(name) for name in program.graph.values},
    )
    memories = Memories.of(4 * 1024, network.schedule.memory.arena_bytes)
    for name in program.graph.values:
        if program.graph.producer(name) is None:
            give(memories, places, name)
    replay(memories, places, dataclasses.replace(staging, finish=finish), "infer")
    from odl.plan.verify_staging import demand

    with pytest.raises(PlanError, match="not the newest"):
        demand(memories, places, output, "the caller")


def test_an_end_without_waiting_is_found() -> None:
    staging = infer_staging()
    finish = tuple(move for move in staging.finish if not isinstance(move, WaitForStores))
    with pytest.raises(PlanError, match="on its way out"):
        check(dataclasses.replace(staging, finish=finish))
