"""Fusing activations, sums and masks: the graph before and the graph expected after, as text."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from odl.graph import Graph, Node, Role, Value
from odl.operators.linear import Linear, LinearInputGradient
from odl.passes.fuse import fuse_elementwise
from tests.odl.graph.by_hand import IMAGE, add, back, by_hand, conv, mask, relu
from tests.odl.graph.examples import (
    Residual,
    lines,
    traced_inference,
    traced_step,
)


def fused(nodes: list[Node], *outputs: str, gradients: dict[str, str] | None = None) -> list[str]:
    """The node lines after fusion, without the shapes, which are all the same."""
    graph = fuse_elementwise(by_hand(nodes, outputs, gradients))
    return [line.replace(f": {IMAGE}", "") for line in lines(graph) if "->" in line]


def test_activation_joins_the_convolution_and_the_sum() -> None:
    assert fused([conv("y", "x"), relu("z", "y")], "z") == [
        "y: Conv2d[window=1x1 low=0](x=x, weight=w1) -> z"
    ]
    assert fused([add("y", "x", "v"), relu("z", "y")], "z") == ["y: Add[low=0](a=x, b=v) -> z"]


def test_second_activation_stays() -> None:
    assert fused([conv("y", "x"), relu("z", "y"), relu("u", "z")], "u") == [
        "y: Conv2d[window=1x1 low=0](x=x, weight=w1) -> z",
        "u: Relu(x=z) -> u",
    ]


def test_bias_of_a_linear_layer_and_its_activation_are_one_node() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.ReLU6())
    graph = fuse_elementwise(traced_inference(module, torch.randn(1, 3)))
    assert lines(graph) == [
        "0: Linear[low=0 high=6](x=x, weight=0.weight, bias=0.bias) -> hardtanh: activation f32[1x2] flat",
        "return hardtanh",
    ]


def test_residual_sum_joins_the_later_convolution() -> None:
    nodes = [conv("short", "x", "w1"), conv("long", "x", "w2")]
    expected = [
        "short: Conv2d[window=1x1](x=x, weight=w1) -> short",
        "long: Conv2d[window=1x1 low=0](x=x, weight=w2, addend=short) -> z",
    ]
    for operands in (("short", "long"), ("long", "short")):
        assert fused([*nodes, add("s", *operands), relu("z", "s")], "z") == expected


def test_residual_sum_joins_the_earlier_convolution_when_the_later_one_has_another_reader() -> None:
    nodes = [conv("a", "x", "w1"), conv("b", "x", "w2"), add("s", "a", "b"), conv("t", "b", "w1")]
    assert fused(nodes, "s", "t") == [
        "b: Conv2d[window=1x1](x=x, weight=w2) -> b",
        "a: Conv2d[window=1x1](x=x, weight=w1, addend=b) -> s",
        "t: Conv2d[window=1x1](x=b, weight=w1) -> t",
    ]


def test_sum_after_an_activation_stays() -> None:
    nodes = [conv("a", "x"), relu("r", "a"), add("s", "r", "x")]
    assert fused(nodes, "s") == ["a: Conv2d[window=1x1 low=0](x=x, weight=w1) -> r", "s: Add(a=r, b=x) -> s"]


def test_a_convolution_takes_one_addend_only() -> None:
    nodes = [conv("a", "x"), add("s", "a", "x"), add("t", "s", "v")]
    assert fused(nodes, "t") == [
        "a: Conv2d[window=1x1](x=x, weight=w1, addend=x) -> s",
        "t: Add(a=s, b=v) -> t",
    ]


def test_a_value_added_to_itself_is_not_its_own_addend() -> None:
    nodes = [conv("a", "x"), add("s", "a", "a")]
    assert fused(nodes, "s") == ["a: Conv2d[window=1x1](x=x, weight=w1) -> a", "s: Add(a=a, b=a) -> s"]


def test_mask_joins_the_input_gradient_after_the_sum() -> None:
    nodes = [back("g", "x"), add("s", "other", "g"), mask("m", "s", "y")]
    assert fused(nodes, "m") == [
        "g: Conv2dInputGradient[window=1x1 input_shape=1,2,4,4 low=0 high=6](dy=x, weight=w1, addend=other, mask=y) -> m"
    ]


def test_sum_after_a_mask_stays() -> None:
    nodes = [back("g", "x"), mask("m", "g", "y"), add("s", "m", "other")]
    assert fused(nodes, "s") == [
        "g: Conv2dInputGradient[window=1x1 input_shape=1,2,4,4 low=0 high=6](dy=x, weight=w1, mask=y) -> m",
        "s: Add(a=m, b=other) -> s",
    ]


@pytest.mark.parametrize("second", ["activation", "sum", "mask"])
@pytest.mark.parametrize("why", ["two readers", "output", "gradient"])
def test_nothing_joins_a_value_that_somebody_else_needs(second: str, why: str) -> None:
    first = back("a", "x") if second == "mask" else conv("a", "x")
    then = {"activation": relu("b", "a"), "sum": add("b", "a", "x"), "mask": mask("b", "a", "y")}[second]
    nodes, outputs, gradients = [first, then], ["b"], {}
    if why == "two readers":
        nodes.append(relu("c", "a"))
        outputs.append("c")
    elif why == "output":
        outputs.append("a")
    else:
        gradients["w1"] = "a"
    graph = by_hand(nodes, tuple(outputs), gradients)
    assert fuse_elementwise(graph).nodes == graph.nodes


def test_linear_layers_fuse_alike() -> None:
    flat = {name: Value(name, (1, 2), Role.ACTIVATION) for name in ("x", "a", "s", "r", "g", "t", "m")}
    flat["w"] = Value("w", (2, 2), Role.PARAMETER)
    nodes = (
        Node("a", Linear(), {"x": "x", "weight": "w"}, {"y": "a"}),
        add("s", "x", "a"),
        relu("r", "s"),
        Node("g", LinearInputGradient(), {"dy": "r", "weight": "w"}, {"dx": "g"}),
        add("t", "g", "x"),
        mask("m", "t", "r"),
    )
    assert lines(fuse_elementwise(Graph("g", flat, nodes, ("m",)))) == [
        "a: Linear[low=0](x=x, weight=w, addend=x) -> r: activation f32[1x2] flat",
        "g: LinearInputGradient[low=0 high=6](dy=r, weight=w, addend=x, mask=r) -> m: activation f32[1x2] flat",
        "return m",
    ]


def test_residual_block_in_both_directions() -> None:
    """Both norms folded away: two convolutions forward, the second with the shortcut; two backward, with its mask."""
    block = Residual(2).eval()
    block.bn1 = block.bn2 = nn.Identity()
    net = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.ReLU(), block)
    x = torch.randn(1, 2, 4, 4)
    step = [
        line.split(" -> ")[0] for line in lines(fuse_elementwise(traced_step(net, x, "mse"))) if "->" in line
    ]
    three = "window=3x3 padding=1,1,1,1"
    assert step == [
        "0: Conv2d[window=1x1 low=0](x=x, weight=0.weight)",
        f"2.conv1: Conv2d[{three} low=0](x=relu, weight=2.conv1.weight)",
        f"2.conv2: Conv2d[{three} low=0](x=relu_1, weight=2.conv2.weight, addend=relu)",
        "loss: MeanSquaredError(prediction=relu_2, target=target, sample_weight=sample_weight)",
        "threshold_backward: ReluGradient(dy=output_gradient, y=relu_2)",
        f"2.conv2.weight.gradient: Conv2dWeightGradient[{three} weight_shape=2,2,3,3](x=relu_1, dy=threshold_backward)",
        f"2.conv2.input_gradient: Conv2dInputGradient[{three} input_shape=1,2,4,4 low=0]"
        "(dy=threshold_backward, weight=2.conv2.weight, mask=relu_1)",
        f"2.conv1.weight.gradient: Conv2dWeightGradient[{three} weight_shape=2,2,3,3](x=relu, dy=threshold_backward_1)",
        f"2.conv1.input_gradient: Conv2dInputGradient[{three} input_shape=1,2,4,4 low=0]"
        "(dy=threshold_backward_1, weight=2.conv1.weight, addend=threshold_backward, mask=relu)",
        "0.weight.gradient: Conv2dWeightGradient[window=1x1 weight_shape=2,2,1,1](x=x, dy=threshold_backward_2)",
    ]
