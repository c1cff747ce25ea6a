"""From graphs to addresses: which values share bytes, and that no bad plan leaves make_schedule."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import odl
from odl.errors import InputError
from odl.graph.ir import Graph, Node, Role, Value
from odl.operators.elementwise import Add, Relu
from odl.operators.shape import Reshape
from odl.plan import schedule as scheduling
from odl.plan.buffers import MemoryPlan, Placement
from odl.plan.program import ScheduleRequest
from odl.plan.replay import PlanError
from odl.plan.schedule import make_schedule
from odl.plan.storage import share_storage
from odl.project.programs import APPLY, STEP, Program
from tests.networks import INPUT, tiny_build

SHAPE = (1, 4)


def value(name: str, role: Role = Role.ACTIVATION, shape: tuple[int, ...] = SHAPE) -> Value:
    return Value(name, shape, role)


def graph(nodes: list[Node], outputs: tuple[str, ...], **roles: Role) -> Graph:
    names = dict.fromkeys(name for node in nodes for name in (*node.reads, *node.results))
    values = {name: value(name, roles.get(name, Role.ACTIVATION)) for name in names}
    return Graph("step", values, tuple(nodes), outputs)


def relu(given: str, output: str) -> Node:
    return Node(output, Relu(), {"x": given}, {"y": output})


def add(one: str, other: str, output: str) -> Node:
    return Node(output, Add(), {"a": one, "b": other}, {"y": output})


def view(given: str, output: str) -> Node:
    return Node(output, Reshape(SHAPE), {"x": given}, {"y": output})


# ----------------------------------------------------------------------------------------------------- storage
def test_an_elementwise_result_takes_over_an_input_that_nobody_reads_again():
    nodes = [add("x", "x2", "a"), relu("a", "b"), relu("b", "c")]
    storage = share_storage(graph(nodes, ("c",), x=Role.INPUT, x2=Role.INPUT), {})
    assert storage.buffer_of["b"] == storage.buffer_of["c"] == "a"


FROM_INPUT = {"x": Role.INPUT}


@pytest.mark.parametrize(
    ("nodes", "outputs", "roles", "why"),
    [
        ([relu("x", "a")], ("a",), FROM_INPUT, "the caller's input is not overwritten"),
        ([relu("x", "a")], ("a",), {"x": Role.PARAMETER}, "a parameter is not overwritten"),
        ([relu("x", "a"), relu("a", "b"), add("a", "b", "c")], ("c",), FROM_INPUT, "a is read later"),
        ([relu("x", "a"), relu("a", "b")], ("a", "b"), FROM_INPUT, "a is an output"),
        ([relu("x", "a"), relu("a", "b")], ("b",), {"x": Role.INPUT, "b": Role.LOSS}, "the loss is read later"),
        ([relu("x", "a"), view("a", "v"), relu("v", "b"), add("a", "b", "c")], ("c",), FROM_INPUT, "a is read later"),
        ([relu("x", "a"), view("a", "v"), relu("a", "b"), add("v", "b", "c")], ("c",), FROM_INPUT, "so is its view"),
    ],
)  # fmt: skip
def test_an_input_that_is_still_needed_is_never_overwritten(nodes, outputs, roles, why):
    storage = share_storage(graph(nodes, outputs, **roles), {})
    for node in nodes:
        if node.operator.is_view or node.name == "c":
            continue
        for given in node.reads:
            assert storage.buffer_of[node.outputs["y"]] != storage.buffer_of[given], why


def test_an_input_of_another_size_or_read_twice_is_not_taken():
    nodes = [relu("x", "a"), add("a", "a", "b")]
    storage = share_storage(graph(nodes, ("b",), x=Role.INPUT), {})
    assert storage.buffer_of["b"] == "b"
    nodes = [relu("x", "a"), relu("a", "b")]
    wide = graph(nodes, ("b",), x=Role.INPUT).with_values([replace(value("b"), shape=(1, 8))])
    assert share_storage(wide, {}).buffer_of["b"] == "b"


def test_views_name_the_bytes_of_their_source():
    nodes = [relu("x", "a"), view("a", "v"), view("v", "w"), relu("w", "b")]
    storage = share_storage(graph(nodes, ("b",), x=Role.INPUT), {})
    assert storage.view_of["w"] == storage.view_of["v"] == storage.view_of["a"] == "a"
    assert storage.buffer_of["w"] == "a" and storage.buffer_of["b"] == "a"


# ---------------------------------------------------------------------------------------------------- schedule
REQUEST = ScheduleRequest(cores=1, chunk=None, accumulate=False, shared={}, capacity=None)


def small() -> dict[Program, Graph]:
    nodes = [relu("x", "a"), relu("a", "b"), add("a", "b", "c")]
    return {STEP: graph(nodes, ("c",), x=Role.INPUT)}


def test_a_schedule_places_everything_and_is_verified():
    schedule = make_schedule(small(), REQUEST)
    program = schedule.programs[STEP]
    assert set(program.offsets) == {"x", "a", "b", "c"}
    assert schedule.memory.peak_bytes == 2 * 16
    assert [item.call.kernel.template for item in program.nodes] == ["relu", "relu", "add"]


def test_a_capacity_that_is_too_small_is_the_users_error():
    assert make_schedule(small(), replace(REQUEST, capacity=32)).memory.peak_bytes == 32
    with pytest.raises(
        InputError, match=r"memory 'ram' of 31 bytes is 1 bytes too small: 32 are needed.*'step/a'"
    ):
        make_schedule(small(), replace(REQUEST, capacity=31))


def moved(name: str, by: int):
    """A planner whose plan has one buffer shifted."""

    def change(plan: MemoryPlan) -> MemoryPlan:
        placements = tuple(
            Placement(item.buffer, item.offset + by) if item.buffer.name.endswith(name) else item
            for item in plan.placements
        )
        assert placements != plan.placements
        return replace(plan, placements=placements)

    return change


def inject(monkeypatch: pytest.MonkeyPatch, change) -> None:
    original = scheduling.plan_memory
    monkeypatch.setattr(
        scheduling, "plan_memory", lambda *given, **options: change(original(*given, **options))
    )


def shortened(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A planner that believes that one buffer dies right after its birth."""
    original = scheduling.plan_memory

    def plan(buffers, *given, **options):
        changed = [
            replace(buffer, last_step=buffer.first_step) if buffer.name.endswith(name) else buffer
            for buffer in buffers
        ]
        assert changed != list(buffers)
        return original(changed, *given, **options)

    monkeypatch.setattr(scheduling, "plan_memory", plan)


def compile_tiny(**options) -> odl.Build:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 3 * 2, 3))
    return odl.compile(module, torch.zeros(1, *INPUT), dtype="mixed", **options)


@pytest.mark.parametrize("by", [-4, 4, -2, 1 << 20])
def test_a_shifted_buffer_is_rejected(monkeypatch, by):
    """Onto a neighbour, off its alignment, or out of the arena."""
    make_schedule(small(), REQUEST)
    inject(monkeypatch, moved("/b", by if by != 4 else 8))
    with pytest.raises(PlanError, match="memory plan"):
        make_schedule(small(), REQUEST)


def test_a_life_that_ends_too_early_is_rejected(monkeypatch):
    """The input waits for the weight gradient; planned to die after the first layer, it is overwritten."""
    shortened(monkeypatch, "step/x")
    with pytest.raises(PlanError, match="tensor 'step/x'"):
        compile_tiny()


@pytest.mark.parametrize("name", ["step/x", "step/relu", "0.weight.copy", "0.weight", "3.bias.gradient"])
def test_faults_in_a_real_plan_are_rejected(monkeypatch, name):
    """Each buffer of a compiled network, moved onto the start of the memory, meets another's bytes."""
    plan = compile_tiny().compiled.network.schedule.memory
    victims = [item for item in plan.placements if item.buffer.name == name]
    assert len(victims) == 1, [item.buffer.name for item in plan.placements]
    start = victims[0].offset
    assert start > 0 or name == "0.weight.copy"
    by = -start if start else plan.placements[1].offset + 4

    def change(found: MemoryPlan) -> MemoryPlan:
        return replace(
            found,
            placements=tuple(
                Placement(item.buffer, item.offset + by) if item.buffer == victims[0].buffer else item
                for item in found.placements
            ),
        )

    inject(monkeypatch, change)
    with pytest.raises(PlanError):
        compile_tiny()


def test_a_plan_without_a_buffer_is_rejected(monkeypatch):
    inject(monkeypatch, lambda plan: replace(plan, placements=plan.placements[1:]))
    with pytest.raises((PlanError, KeyError)):
        make_schedule(small(), REQUEST)


def test_an_operator_that_lies_about_working_in_place_is_caught(monkeypatch):
    """storage.py may only share what an operator allows; schedule.py checks that again on its own."""
    monkeypatch.setattr(
        scheduling,
        "share_storage",
        lambda graph, shared: replace(
            share_storage(graph, shared), buffer_of={**share_storage(graph, shared).buffer_of, "b": "a"}
        ),
    )
    with pytest.raises(PlanError):
        make_schedule(small(), REQUEST)


def test_gradients_outlive_the_step_only_where_they_must():
    plans = {
        name: tiny_build(**options).compiled.network.schedule
        for name, options in {
            "fp32": {"dtype": "fp32", "bn": "fold", "optimizer": odl.Adam(0.001)},
            "mixed": {"dtype": "mixed", "bn": "train"},
            "accumulate": {"dtype": "mixed", "bn": "fold", "accumulate": True},
        }.items()
    }
    kept = {
        name: {item.buffer.name for item in schedule.memory.placements if item.buffer.persistent}
        for name, schedule in plans.items()
    }
    assert not any("gradient" in name for name in kept["fp32"] | kept["mixed"])
    assert {"0.weight.gradient", "4.bias.gradient"} <= kept["accumulate"]
    assert APPLY not in plans["fp32"].programs and APPLY in plans["mixed"].programs
    offsets = plans["mixed"].programs[STEP].offsets
    assert offsets["0.weight.gradient"] == offsets["0.weight.copy"]
