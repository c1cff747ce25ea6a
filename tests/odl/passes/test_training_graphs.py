"""Precision and optimizer updates: what the training graphs hold, in which type and order."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from odl.graph import DType, Graph, Node, Role
from odl.operators.base import INFINITY
from odl.operators.convolution import Conv2d
from odl.operators.elementwise import Relu, ReluGradient
from odl.operators.optimizer import Copy
from odl.optimizers.adam import Adam
from odl.optimizers.base import Optimizer, Update
from odl.optimizers.sgd import SGD
from odl.passes.fuse import fuse_elementwise
from odl.passes.layout import choose_layouts
from odl.passes.optimizer import TrainingGraphs, insert_updates
from odl.passes.precision import apply_precision
from odl.precision import Precision
from tests.odl.graph.by_hand import CONV, by_hand, mask
from tests.odl.graph.examples import (
    build,
    node,
    traced_step,
    train_norms,
)

# --- apply_precision ----------------------------------------------------------------------------------


def precise(precision: Precision, accumulate: bool = False) -> Graph:
    """conv (frozen), batch norm in training mode, max pooling, linear; trained: all but the convolution."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    train_norms(net.eval())
    chosen = ["1.weight", "1.bias", "4.weight", "4.bias"]
    step = choose_layouts(traced_step(net, torch.randn(2, 1, 4, 4), trainable=chosen))
    return apply_precision(step, precision, frozenset(step.gradients), accumulate)


def types(graph: Graph) -> dict[str, set[str]]:
    """Types of the values by role; matrices and vectors of parameters and their gradients apart."""
    result: dict[str, set[str]] = {}
    for value in graph.values.values():
        kind = str(value.role)
        if value.role in (Role.PARAMETER, Role.PARAMETER_GRADIENT):
            kind += " matrix" if len(value.shape) > 1 else " vector"
        result.setdefault(kind, set()).add(str(value.dtype))
    return result


F16, F32 = {"f16"}, {"f32"}
#: Statistics, what a batch norm saves, targets, weights and the loss are fp32 always; a pooling's winners are bytes.
ALWAYS = {
    "target": F32,
    "sample_weight": F32,
    "statistic": F32,
    "saved": {"f32", "u8"},
    "loss": F32,
}


def test_fp32_is_fp32() -> None:
    graph = precise(Precision.FP32)
    assert all(value.dtype in (DType.F32, DType.U8) for value in graph.values.values())
    assert not any(value.role is Role.WORKING_COPY for value in graph.values.values())


def test_fp16_halves_all_but_statistics() -> None:
    assert types(precise(Precision.FP16)) == ALWAYS | {
        "input": F16,
        "activation": F16,
        "gradient": F16,
        "parameter matrix": F16,
        "parameter vector": F16,
        "parameter_gradient matrix": F16,
        "parameter_gradient vector": F16,
    }


@pytest.mark.parametrize("accumulate", [False, True])
def test_mixed_keeps_masters_vectors_and_sums_of_gradients_in_fp32(accumulate: bool) -> None:
    graph = precise(Precision.MIXED, accumulate)
    assert types(graph) == ALWAYS | {
        "input": F16,
        "activation": F16,
        "gradient": F16,
        "parameter matrix": {"f16", "f32"},
        "parameter vector": F32,
        "parameter_gradient matrix": F32 if accumulate else F16,
        "parameter_gradient vector": F32,
        "working_copy": F16,
    }
    assert graph.value("0.weight").dtype is DType.F16  # frozen: no master
    assert graph.value("4.weight").dtype is DType.F32
    copies = [value for value in graph.values.values() if value.role is Role.WORKING_COPY]
    assert [(copy.name, copy.source) for copy in copies] == [("4.weight.copy", "4.weight")]
    assert not graph.consumers("4.weight")
    assert {item.name for item in graph.consumers("4.weight.copy")} == {"4", "4.input_gradient"}


@pytest.mark.parametrize(
    ("precision", "kind"), [("fp32", np.float32), ("fp16", np.float16), ("mixed", np.float16)]
)
def test_limits_are_what_their_outputs_are_stored_as(precision: str, kind: type[np.floating[Any]]) -> None:
    """0.9 is stored below 0.9: a mask that compared with the exact limit would let clamped units through."""
    limited = [
        Node("y", replace(CONV, low=-0.4, high=0.9), {"x": "x", "weight": "w1"}, {"y": "y"}),
        mask("m", "v", "y"),
    ]
    graph = apply_precision(by_hand(limited, ("m",)), Precision(precision), frozenset(), False)
    conv_operator, mask_operator = (item.operator for item in graph.nodes)
    assert isinstance(conv_operator, Conv2d) and isinstance(mask_operator, ReluGradient)
    assert (conv_operator.low, conv_operator.high) == (float(kind(-0.4)), float(kind(0.9)))
    assert (mask_operator.low, mask_operator.high) == (0.0, 6.0)
    large = by_hand([Node("z", Relu(-INFINITY, 1e6), {"x": "x"}, {"y": "z"})], ("z",))
    (alone,) = apply_precision(large, Precision(precision), frozenset(), False).nodes
    assert alone.operator == Relu(-INFINITY, 1e6 if kind is np.float32 else INFINITY)


# --- insert_updates -----------------------------------------------------------------------------------


@cache
def residual_step() -> Graph:
    """A residual block with batch norms in training mode, fused."""
    module, x = build("residual")
    return fuse_elementwise(traced_step(train_norms(module), x))


def training(
    precision: Precision, accumulate: bool = False, optimizer: Optimizer | None = None
) -> TrainingGraphs:
    step = residual_step()
    step = apply_precision(step, precision, frozenset(step.gradients), accumulate)
    return insert_updates(step, optimizer or SGD(), precision, accumulate)


def positions(graph: Graph) -> dict[str, int]:
    return {item.name: index for index, item in enumerate(graph.nodes)}


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_what_outlives_the_step_changes_behind_all_that_is_computed_and_only_where_it_counts(
    precision: Precision,
) -> None:
    graphs = training(precision)
    assert graphs.apply is None and graphs.skip is None and graphs.refresh is None and graphs.shared == {}
    nodes = graphs.step.nodes
    first = next(index for index, item in enumerate(nodes) if item.guarded)
    assert all(item.guarded for item in nodes[first:])
    updated = {item.inputs["parameter"] for item in nodes[first:] if isinstance(item.operator, Update)}
    assert updated == set(graphs.step.gradients) and len(updated) == 10
    for item in nodes[:first]:
        assert not any(graphs.step.value(name).persistent for name in item.writes)


def test_every_statistic_changes_once_at_the_end_in_any_precision() -> None:
    for precision in Precision:
        for accumulate in (False, True):
            step = training(precision, accumulate).step
            statistics = {name for name, value in step.values.items() if value.role is Role.STATISTIC}
            written = [name for item in step.nodes for name in item.writes if name in statistics]
            assert sorted(written) == sorted(statistics) and len(written) == 4
            assert all(item.guarded for item in step.nodes if statistics.intersection(item.writes))


def test_a_weight_gradient_that_is_larger_than_its_operands_comes_when_activations_have_died() -> None:
    net = nn.Sequential(nn.Linear(40, 3), nn.ReLU(), nn.Linear(3, 40), nn.ReLU(), nn.Linear(40, 40))
    step = traced_step(net, torch.randn(1, 40))
    place = positions(insert_updates(step, SGD(), Precision.FP32, False).step)
    assert place["0.bias.gradient"] < place["4.weight.gradient"] < place["4.weight.update"]
    many = traced_step(net, torch.randn(64, 40))  # now the operands are larger
    place = positions(insert_updates(many, SGD(), Precision.FP32, False).step)
    assert place["4.weight.gradient"] < place["2.weight.gradient"] < place["0.bias.gradient"]


def test_mixed_updates_after_the_step_and_shares_the_copys_memory() -> None:
    graphs = training(Precision.MIXED)
    matrices = {name for name in graphs.step.gradients if len(graphs.step.value(name).shape) > 1}
    assert graphs.shared == {f"{name}.gradient": f"{name}.copy" for name in matrices}
    assert not any(isinstance(item.operator, Update) for item in graphs.step.nodes)
    assert graphs.apply is not None and graphs.skip is not None and graphs.refresh is not None
    assert [item.name for item in graphs.apply.nodes] == [f"{name}.update" for name in graphs.step.gradients]
    for name in graphs.step.gradients:
        copy = {"copy": f"{name}.copy"} if name in matrices else {}
        expected = {"parameter": name, "gradient": f"{name}.gradient", **copy}
        assert node(graphs.apply, f"{name}.update").inputs == expected
    refreshed = {f"{name}.refresh" for name in matrices}
    assert {item.name for item in graphs.skip.nodes} == refreshed  # a skipped step has overwritten the copies
    assert {item.name for item in graphs.refresh.nodes} == refreshed
    place = positions(graphs.step)
    for gradient, copy in graphs.shared.items():
        made = next(place[item.name] for item in graphs.step.nodes if gradient in item.results)
        assert made > max(place[item.name] for item in graphs.step.nodes if copy in item.reads)


def test_moving_weight_gradients_keeps_every_value_made_before_it_is_read() -> None:
    graphs = training(Precision.MIXED)
    made: set[str] = {name for name in graphs.step.values if graphs.step.producer(name) is None}
    for item in graphs.step.nodes:
        assert set(item.reads) <= made, item.name
        made.update(item.results)
    assert set(graphs.step.gradients.values()) <= made


@pytest.mark.parametrize("precision", list(Precision))
def test_accumulated_gradients_are_applied_and_cleared_apart(precision: Precision) -> None:
    graphs = training(precision, accumulate=True)
    assert graphs.shared == {} and graphs.apply is not None
    gradients = list(graphs.step.gradients.items())
    clears = [f"{gradient}.clear" for _, gradient in gradients]
    assert [item.name for item in graphs.apply.nodes] == [f"{name}.update" for name, _ in gradients] + clears
    assert graphs.skip is not None and [item.name for item in graphs.skip.nodes] == clears
    # no gradient shares memory, so that nothing has to move
    computing = [
        item.name for item in graphs.step.nodes if not (item.guarded or isinstance(item.operator, Copy))
    ]
    assert computing == [item.name for item in residual_step().nodes]


@pytest.mark.parametrize(
    ("optimizer", "precision", "expected"),
    [
        (SGD(), Precision.MIXED, {}),
        (SGD(momentum=0.9), Precision.FP32, {"momentum_buffer": DType.F32}),
        (SGD(momentum=0.9), Precision.FP16, {"momentum_buffer": DType.F16}),
        (SGD(momentum=0.9), Precision.MIXED, {"momentum_buffer": DType.F32}),
        (Adam(), Precision.FP16, {"exp_avg": DType.F32, "exp_avg_sq": DType.F32}),
        (Adam(), Precision.MIXED, {"exp_avg": DType.F32, "exp_avg_sq": DType.F32}),
    ],
)
def test_optimizer_state(optimizer: Optimizer, precision: Precision, expected: dict[str, DType]) -> None:
    graphs = training(precision, optimizer=optimizer)
    graph = graphs.apply or graphs.step
    for name in graphs.step.gradients:
        got = dict(node(graph, f"{name}.update").inputs)
        for own in ("parameter", "gradient", "copy"):
            got.pop(own, None)
        assert got == {state: f"{name}.{state}" for state in expected}
        for state, dtype in expected.items():
            value, parameter = graphs.step.value(f"{name}.{state}"), graphs.step.value(name)
            assert (value.role, value.dtype) == (Role.OPTIMIZER, dtype)
            assert (value.shape, value.layout) == (parameter.shape, parameter.layout)
