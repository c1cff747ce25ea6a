"""Passes: the graph before and the graph expected after, as text; and after every pass the numbers of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import nn

from odl.compiler import compile_network
from odl.errors import InputError
from odl.graph import DType, Graph, Layout, Node, Role, Value
from odl.operators.base import INFINITY
from odl.operators.batch_norm import BatchNorm
from odl.operators.convolution import Conv2d, Conv2dInputGradient, Window
from odl.operators.elementwise import Add, Relu, ReluGradient
from odl.operators.linear import Linear, LinearInputGradient
from odl.operators.optimizer import AdamUpdate, SgdUpdate
from odl.operators.shape import Pad
from odl.options import Options
from odl.passes.fold_batch_norm import Folded, fold_batch_norm
from odl.passes.fuse import fuse_elementwise
from odl.passes.fuse_padding import fuse_padding
from odl.passes.layout import choose_layouts
from odl.passes.optimizer import TrainingGraphs, insert_updates
from odl.passes.precision import Precision, apply_precision
from odl.passes.rewrite import remove_dead_code
from odl.passes.select import select_parameters
from tests.odl.graphs import (
    EXAMPLES,
    PadConv,
    Residual,
    build,
    lines,
    node,
    traced_inference,
    traced_step,
    train_norms,
)
from tests.odl.interpret import interpret, state_of, torch_step

PASSES: dict[str, Callable[[Graph], Graph]] = {
    "traced": lambda graph: graph,
    "remove_dead_code": remove_dead_code,
    "fuse_padding": fuse_padding,
    "fuse_elementwise": fuse_elementwise,
    "choose_layouts": choose_layouts,
}


# --- numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "norms"),
    [(name, "frozen") for name in EXAMPLES]
    + [(name, "train") for name in ("conv_bn_relu", "residual", "pre_activation", "separable", "mlp")],
)
def test_every_stage_computes_what_torch_computes(name: str, norms: str) -> None:
    module, x = build(name)
    if norms == "train":
        train_norms(module)
    loss = EXAMPLES[name].loss
    graph = traced_step(module, x, loss)
    generator = np.random.default_rng(0)
    target = generator.dirichlet(np.ones(4), size=graph.value("target").shape[:-1])
    target = np.resize(target, graph.value("target").shape)
    given = {"x": x.numpy(), "target": target, "sample_weight": generator.random(len(x)) + 0.5}
    state = state_of(module)
    expected_loss, gradients = torch_step(module, *given.values(), loss)
    after = state_of(module)
    assert set(graph.gradients) == set(gradients)
    for stage, apply in PASSES.items():
        graph = apply(graph)
        values = interpret(graph, {**state, **given})
        np.testing.assert_allclose(values["loss"], [expected_loss], rtol=1e-9, atol=1e-12, err_msg=stage)
        for parameter, gradient in graph.gradients.items():
            np.testing.assert_allclose(
                values[gradient], gradients[parameter], rtol=1e-9, atol=1e-9, err_msg=f"{stage}: {parameter}"
            )
        for statistic in [key for key in state if "running" in key]:
            np.testing.assert_allclose(values[statistic], after[statistic], rtol=1e-9, err_msg=stage)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_stage_of_inference_gives_the_modules_output(name: str) -> None:
    module, x = build(name)
    graph = traced_inference(module, x)
    with torch.no_grad():
        expected = module(x).numpy()
    for stage, apply in PASSES.items():
        graph = apply(graph)
        got = interpret(graph, {**state_of(module), "x": x.numpy()})[graph.outputs[0]]
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9, err_msg=stage)


# --- graphs by hand -----------------------------------------------------------------------------------


def image(name: str, channels: int = 2, role: Role = Role.ACTIVATION) -> Value:
    return Value(name, (1, channels, 4, 4), role, layout=Layout.NHWC)


def by_hand(nodes: list[Node], outputs: tuple[str, ...], gradients: dict[str, str] | None = None) -> Graph:
    """A graph over images of two channels; w1, w2 are 1x1 weights, every other name an activation."""
    names = [name for item in nodes for name in (*item.reads, *item.outputs)]
    values = {name: image(name) for name in names if not name.startswith("w")}
    if "x" in values:
        values["x"] = image("x", role=Role.INPUT)
    weights = sorted({name for name in names if name.startswith("w")})
    values |= {name: Value(name, (2, 2, 1, 1), Role.PARAMETER, layout=Layout.OHWI) for name in weights}
    return Graph("g", values, tuple(nodes), outputs, gradients or {})


POINT = Window((1, 1))
CONV = Conv2d(POINT)
BACK = Conv2dInputGradient(POINT, (1, 2, 4, 4))
IMAGE = "activation f32[1x2x4x4] nhwc"


def conv(name: str, x: str, weight: str = "w1") -> Node:
    return Node(name, CONV, (x, weight, None, None), (name,))


def back(name: str, dy: str, weight: str = "w1") -> Node:
    return Node(name, BACK, (dy, weight, None, None), (name,))


def test_dump_is_the_whole_graph_as_text() -> None:
    graph = by_hand([conv("y", "x"), Node("z", Relu(0.0, 6.0), ("y",), ("z",))], ("z",), {"w1": "y"})
    assert graph.dump() == (
        "graph g\n"
        "  x: input f32[1x2x4x4] nhwc\n"
        "  w1: parameter f32[2x2x1x1] ohwi\n"
        f"  y: Conv2d[window=1x1](x, w1, -, -) -> y: {IMAGE}\n"
        f"  z: Relu[high=6](y) -> z: {IMAGE}\n"
        "  return z\n"
        "  gradient w1 = y\n"
    )


# --- remove_dead_code ---------------------------------------------------------------------------------


def test_dead_code_goes_and_what_it_alone_read() -> None:
    graph = remove_dead_code(
        by_hand([conv("y", "x"), conv("dead", "x", "w2"), conv("deader", "dead", "w2")], ("y",))
    )
    assert lines(graph) == [f"y: Conv2d[window=1x1](x, w1, -, -) -> y: {IMAGE}", "return y"]
    assert set(graph.values) == {"x", "w1", "y"}


def test_dead_code_keeps_updates_of_running_statistics() -> None:
    module = train_norms(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval())
    graph = traced_step(module, torch.randn(4, 3), "mse")
    alone = remove_dead_code(replace(graph, outputs=(), gradients={}))
    assert [item.name for item in alone.nodes] == ["0", "1"]
    assert alone.nodes[1].writes == ("1", "1_1", "1_2", "1.running_mean", "1.running_var")
    frozen = traced_step(module.eval(), torch.randn(4, 3), "mse")
    assert remove_dead_code(replace(frozen, outputs=(), gradients={})).nodes == ()


# --- fuse_padding -------------------------------------------------------------------------------------


def test_padding_joins_the_convolution_its_weight_gradient_and_its_input_gradient() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 1, 3, stride=2, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(functional.pad(self.a(x), (0, 1, 1, 2)))

    graph = fuse_padding(traced_step(Padded(), torch.randn(1, 1, 4, 4), "mse"))
    window = "3x3 stride=2x2 padding=1,0,2,1"
    assert lines(graph) == [
        f"a: Conv2d[window=1x1](x, a.weight, -, -) -> a: {IMAGE}",
        f"b: Conv2d[window={window}](a, b.weight, -, -) -> b: activation f32[1x1x3x2] nhwc",
        "loss: MeanSquaredError(b, target, sample_weight) -> loss: loss f32[1] flat, "
        "output_gradient: gradient f32[1x1x3x2] nhwc",
        f"b.weight.gradient: Conv2dWeightGradient[window={window} weight_shape=1,2,3,3](a, output_gradient) -> "
        "b.weight.gradient: parameter_gradient f32[1x2x3x3] ohwi",
        f"b.input_gradient: Conv2dInputGradient[window={window} input_shape=1,2,4,4]"
        "(output_gradient, b.weight, -, -) -> constant_pad_nd_1: gradient f32[1x2x4x4] nhwc",
        "a.weight.gradient: Conv2dWeightGradient[window=1x1 weight_shape=2,1,1,1](x, constant_pad_nd_1) -> "
        "a.weight.gradient: parameter_gradient f32[2x1x1x1] ohwi",
        "return loss",
        "gradient a.weight = a.weight.gradient",
        "gradient b.weight = b.weight.gradient",
    ]


def test_padding_that_is_padded_again_joins_too() -> None:
    module = PadConv(1, 2)
    graph = fuse_padding(traced_inference(module, torch.randn(1, 1, 4, 5)))
    assert lines(graph)[0].startswith("conv: Conv2d[window=3x2 stride=2x2 padding=3,1,1,1](x, conv.weight")
    assert len(graph.nodes) == 1


def test_padding_that_something_else_reads_stays_for_it() -> None:
    pad = Node("p", Pad((1, 1, 1, 1)), ("x",), ("p",))
    graph = by_hand([pad, conv("y", "p"), Node("z", Relu(), ("p",), ("z",))], ("y", "z"))
    assert [type(item.operator).__name__ for item in fuse_padding(graph).nodes] == ["Pad", "Conv2d", "Relu"]
    assert fuse_padding(graph).nodes[1].inputs[0] == "x"


@pytest.mark.parametrize("amounts", [(-1, -1, -1, -1), (1, -1, 0, 0)])
def test_a_crop_before_a_convolution_stays(amounts: tuple[int, int, int, int]) -> None:
    graph = by_hand([Node("p", Pad(amounts), ("x",), ("p",)), conv("y", "p")], ("y",))
    assert fuse_padding(graph).nodes == graph.nodes


def test_a_crop_of_a_gradient_with_another_reader_stays() -> None:
    crop = Node("c", Pad((-1, 0, 0, 0)), ("g",), ("c",))
    graph = by_hand([back("g", "x"), crop, Node("z", Relu(), ("g",), ("z",))], ("c", "z"))
    assert fuse_padding(graph).nodes == graph.nodes


# --- fuse_elementwise ---------------------------------------------------------------------------------


def fused(nodes: list[Node], *outputs: str, gradients: dict[str, str] | None = None) -> list[str]:
    """The node lines after fusion, without the shapes, which are all the same."""
    graph = fuse_elementwise(by_hand(nodes, outputs, gradients))
    return [line.replace(f": {IMAGE}", "") for line in lines(graph) if "->" in line]


def relu(name: str, x: str) -> Node:
    return Node(name, Relu(), (x,), (name,))


def add(name: str, a: str, b: str) -> Node:
    return Node(name, Add(), (a, b), (name,))


def mask(name: str, dy: str, y: str) -> Node:
    return Node(name, ReluGradient(0.0, 6.0), (dy, y), (name,))


def test_activation_joins_the_convolution_and_the_sum() -> None:
    assert fused([conv("y", "x"), relu("z", "y")], "z") == ["y: Conv2d[window=1x1 low=0](x, w1, -, -) -> z"]
    assert fused([add("y", "x", "v"), relu("z", "y")], "z") == ["y: Add[low=0](x, v) -> z"]


def test_second_activation_stays() -> None:
    assert fused([conv("y", "x"), relu("z", "y"), relu("u", "z")], "u") == [
        "y: Conv2d[window=1x1 low=0](x, w1, -, -) -> z",
        "u: Relu(z) -> u",
    ]


def test_bias_of_a_linear_layer_and_its_activation_are_one_node() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.ReLU6())
    graph = fuse_elementwise(traced_inference(module, torch.randn(1, 3)))
    assert lines(graph) == [
        "0: Linear[low=0 high=6](x, 0.weight, 0.bias, -) -> hardtanh: activation f32[1x2] flat",
        "return hardtanh",
    ]


def test_residual_sum_joins_the_later_convolution() -> None:
    nodes = [conv("short", "x", "w1"), conv("long", "x", "w2")]
    expected = [
        "short: Conv2d[window=1x1](x, w1, -, -) -> short",
        "long: Conv2d[window=1x1 low=0](x, w2, -, short) -> z",
    ]
    for operands in (("short", "long"), ("long", "short")):
        assert fused([*nodes, add("s", *operands), relu("z", "s")], "z") == expected


def test_residual_sum_joins_the_earlier_convolution_when_the_later_one_has_another_reader() -> None:
    nodes = [conv("a", "x", "w1"), conv("b", "x", "w2"), add("s", "a", "b"), conv("t", "b", "w1")]
    assert fused(nodes, "s", "t") == [
        "b: Conv2d[window=1x1](x, w2, -, -) -> b",
        "a: Conv2d[window=1x1](x, w1, -, b) -> s",
        "t: Conv2d[window=1x1](b, w1, -, -) -> t",
    ]


def test_sum_after_an_activation_stays() -> None:
    nodes = [conv("a", "x"), relu("r", "a"), add("s", "r", "x")]
    assert fused(nodes, "s") == ["a: Conv2d[window=1x1 low=0](x, w1, -, -) -> r", "s: Add(r, x) -> s"]


def test_a_convolution_takes_one_addend_only() -> None:
    nodes = [conv("a", "x"), add("s", "a", "x"), add("t", "s", "v")]
    assert fused(nodes, "t") == ["a: Conv2d[window=1x1](x, w1, -, x) -> s", "t: Add(s, v) -> t"]


def test_a_value_added_to_itself_is_not_its_own_addend() -> None:
    nodes = [conv("a", "x"), add("s", "a", "a")]
    assert fused(nodes, "s") == ["a: Conv2d[window=1x1](x, w1, -, -) -> a", "s: Add(a, a) -> s"]


def test_mask_joins_the_input_gradient_after_the_sum() -> None:
    nodes = [back("g", "x"), add("s", "other", "g"), mask("m", "s", "y")]
    assert fused(nodes, "m") == [
        "g: Conv2dInputGradient[window=1x1 input_shape=1,2,4,4 low=0 high=6](x, w1, other, y) -> m"
    ]


def test_sum_after_a_mask_stays() -> None:
    nodes = [back("g", "x"), mask("m", "g", "y"), add("s", "m", "other")]
    assert fused(nodes, "s") == [
        "g: Conv2dInputGradient[window=1x1 input_shape=1,2,4,4 low=0 high=6](x, w1, -, y) -> m",
        "s: Add(m, other) -> s",
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
        Node("a", Linear(), ("x", "w", None, None), ("a",)),
        add("s", "x", "a"),
        relu("r", "s"),
        Node("g", LinearInputGradient(), ("r", "w", None, None), ("g",)),
        add("t", "g", "x"),
        mask("m", "t", "r"),
    )
    assert lines(fuse_elementwise(Graph("g", flat, nodes, ("m",)))) == [
        "a: Linear[low=0](x, w, -, x) -> r: activation f32[1x2] flat",
        "g: LinearInputGradient[low=0 high=6](r, w, x, r) -> m: activation f32[1x2] flat",
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
        "0: Conv2d[window=1x1 low=0](x, 0.weight, -, -)",
        f"2.conv1: Conv2d[{three} low=0](relu, 2.conv1.weight, -, -)",
        f"2.conv2: Conv2d[{three} low=0](relu_1, 2.conv2.weight, -, relu)",
        "loss: MeanSquaredError(relu_2, target, sample_weight)",
        "threshold_backward: ReluGradient(output_gradient, relu_2)",
        f"2.conv2.weight.gradient: Conv2dWeightGradient[{three} weight_shape=2,2,3,3](relu_1, threshold_backward)",
        f"2.conv2.input_gradient: Conv2dInputGradient[{three} input_shape=1,2,4,4 low=0]"
        "(threshold_backward, 2.conv2.weight, -, relu_1)",
        f"2.conv1.weight.gradient: Conv2dWeightGradient[{three} weight_shape=2,2,3,3](relu, threshold_backward_1)",
        f"2.conv1.input_gradient: Conv2dInputGradient[{three} input_shape=1,2,4,4 low=0]"
        "(threshold_backward_1, 2.conv1.weight, threshold_backward, relu)",
        "0.weight.gradient: Conv2dWeightGradient[window=1x1 weight_shape=2,2,1,1](x, threshold_backward_2)",
    ]


# --- choose_layouts -----------------------------------------------------------------------------------


def test_flattening_an_image_copies_it_and_its_gradient() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Flatten(), nn.Linear(32, 3, bias=False))
    graph = choose_layouts(traced_step(net, torch.randn(1, 1, 4, 4)))
    text = [line for line in lines(graph) if "Layout" in line or "Reshape" in line]
    assert text == [
        "view.layout: ChangeLayout[image=1,2,4,4 to_channels_first=True](0) -> "
        "view.layout: activation f32[1x2x4x4] flat",
        "view: Reshape[shape=1,32](view.layout) -> view: activation f32[1x32] flat",
        "view_1.layout: Reshape[shape=1,2,4,4](2.input_gradient) -> view_1.layout: gradient f32[1x2x4x4] flat",
        "view_1: ChangeLayout[image=1,2,4,4 to_channels_first=False](view_1.layout) -> "
        "view_1: gradient f32[1x2x4x4] nhwc",
    ]


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (2, 1, 4, 3), (1, 1, 1, 5)])
def test_flattening_what_lies_in_order_already_copies_nothing(shape: tuple[int, ...]) -> None:
    net = nn.Sequential(nn.ReLU(), nn.Flatten())
    graph = choose_layouts(traced_inference(net, torch.randn(shape)))
    assert [type(item.operator).__name__ for item in graph.nodes] == ["Relu", "Reshape"]


def test_reshaping_an_image_to_another_is_refused() -> None:
    class Wider(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.relu().view(1, 4, 2, 4)

    with pytest.raises(InputError, match=r"reshaping \(1, 2, 4, 4\) to \(1, 4, 2, 4\)"):
        choose_layouts(traced_inference(Wider(), torch.randn(1, 2, 4, 4)))


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
        Node("y", replace(CONV, low=-0.4, high=0.9), ("x", "w1", None, None), ("y",)),
        mask("m", "v", "y"),
    ]
    graph = apply_precision(by_hand(limited, ("m",)), Precision(precision), frozenset(), False)
    conv_operator, mask_operator = (item.operator for item in graph.nodes)
    assert isinstance(conv_operator, Conv2d) and isinstance(mask_operator, ReluGradient)
    assert (conv_operator.low, conv_operator.high) == (float(kind(-0.4)), float(kind(0.9)))
    assert (mask_operator.low, mask_operator.high) == (0.0, 6.0)
    large = by_hand([Node("z", Relu(-INFINITY, 1e6), ("x",), ("z",))], ("z",))
    (alone,) = apply_precision(large, Precision(precision), frozenset(), False).nodes
    assert alone.operator == Relu(-INFINITY, 1e6 if kind is np.float32 else INFINITY)


# --- insert_updates -----------------------------------------------------------------------------------


@cache
def residual_step() -> Graph:
    """A residual block with batch norms in training mode, fused."""
    module, x = build("residual")
    return fuse_elementwise(traced_step(train_norms(module), x))


def training(
    precision: Precision, accumulate: bool = False, update: SgdUpdate | AdamUpdate | None = None
) -> TrainingGraphs:
    step = residual_step()
    step = apply_precision(step, precision, frozenset(step.gradients), accumulate)
    return insert_updates(step, update or SgdUpdate(), precision, accumulate)


def positions(graph: Graph) -> dict[str, int]:
    return {item.name: index for index, item in enumerate(graph.nodes)}


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_updates_come_at_once_but_never_before_the_last_reader(precision: Precision) -> None:
    graphs = training(precision)
    assert graphs.apply is None and graphs.skip is None and graphs.refresh is None and graphs.shared == {}
    place = positions(graphs.step)
    assert len(graphs.step.gradients) == 10
    for parameter, gradient in graphs.step.gradients.items():
        update = place[f"{parameter}.update"]
        others = [item for item in graphs.step.nodes if item.name != f"{parameter}.update"]
        reads = [place[item.name] for item in others if parameter in item.reads]
        made = next(place[item.name] for item in others if gradient in item.outputs)
        assert update > max([*reads, made])
        # at once: nothing but other updates stands between
        between = graphs.step.nodes[max([*reads, made]) + 1 : update]
        assert all(isinstance(item.operator, SgdUpdate) for item in between)


def test_a_gradient_that_comes_before_its_weight_is_read_for_the_last_time_waits() -> None:
    """The input gradient of the second layer reads its weight, whichever of the two gradients comes first."""
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    step = traced_step(net, torch.randn(1, 2))
    reordered = sorted(step.nodes, key=lambda item: item.name in ("2.input_gradient", "threshold_backward"))
    early = [item for item in reordered if item.name.startswith("0.") and "gradient" in item.name]
    late = [item for item in reordered if item not in early]
    graphs = insert_updates(replace(step, nodes=(*late, *early)), SgdUpdate(), Precision.FP32, False)
    place = positions(graphs.step)
    assert place["2.weight.gradient"] < place["2.input_gradient"] < place["2.weight.update"]


def test_mixed_updates_after_the_step_and_shares_the_copys_memory() -> None:
    graphs = training(Precision.MIXED)
    matrices = {name for name in graphs.step.gradients if len(graphs.step.value(name).shape) > 1}
    assert graphs.shared == {f"{name}.gradient": f"{name}.copy" for name in matrices}
    assert not any(isinstance(item.operator, SgdUpdate) for item in graphs.step.nodes)
    assert graphs.apply is not None and graphs.skip is not None and graphs.refresh is not None
    assert [item.name for item in graphs.apply.nodes] == [f"{name}.update" for name in graphs.step.gradients]
    for name in graphs.step.gradients:
        copy = f"{name}.copy" if name in matrices else None
        assert node(graphs.apply, f"{name}.update").inputs == (name, f"{name}.gradient", copy, None, None)
    refreshed = {f"{name}.refresh" for name in matrices}
    assert {item.name for item in graphs.skip.nodes} == refreshed  # a skipped step has overwritten the copies
    assert {item.name for item in graphs.refresh.nodes} == refreshed
    place = positions(graphs.step)
    for gradient, copy in graphs.shared.items():
        made = next(place[item.name] for item in graphs.step.nodes if gradient in item.outputs)
        assert made > max(place[item.name] for item in graphs.step.nodes if copy in item.reads)


def test_moving_weight_gradients_keeps_every_value_made_before_it_is_read() -> None:
    graphs = training(Precision.MIXED)
    made: set[str] = {name for name in graphs.step.values if graphs.step.producer(name) is None}
    for item in graphs.step.nodes:
        assert set(item.reads) <= made, item.name
        made.update(item.outputs)
    assert set(graphs.step.gradients.values()) <= made


@pytest.mark.parametrize("precision", list(Precision))
def test_accumulated_gradients_are_applied_and_cleared_apart(precision: Precision) -> None:
    graphs = training(precision, accumulate=True)
    assert graphs.shared == {} and graphs.apply is not None
    gradients = list(graphs.step.gradients.items())
    clears = [f"{gradient}.clear" for _, gradient in gradients]
    assert [item.name for item in graphs.apply.nodes] == [f"{name}.update" for name, _ in gradients] + clears
    if precision is Precision.MIXED:
        assert graphs.skip is not None and [item.name for item in graphs.skip.nodes] == clears
    else:
        assert graphs.skip is None
    # no gradient shares memory, so that nothing has to move
    assert [item.name for item in graphs.step.nodes] == [item.name for item in residual_step().nodes]


@pytest.mark.parametrize(
    ("update", "precision", "expected"),
    [
        (SgdUpdate(), Precision.MIXED, {}),
        (SgdUpdate(0.9), Precision.FP32, {"momentum_buffer": DType.F32}),
        (SgdUpdate(0.9), Precision.FP16, {"momentum_buffer": DType.F16}),
        (SgdUpdate(0.9), Precision.MIXED, {"momentum_buffer": DType.F32}),
        (AdamUpdate(), Precision.FP16, {"exp_avg": DType.F32, "exp_avg_sq": DType.F32}),
        (AdamUpdate(), Precision.MIXED, {"exp_avg": DType.F32, "exp_avg_sq": DType.F32}),
    ],
)
def test_optimizer_state(
    update: SgdUpdate | AdamUpdate, precision: Precision, expected: dict[str, DType]
) -> None:
    graphs = training(precision, update=update)
    graph = graphs.apply or graphs.step
    for name in graphs.step.gradients:
        states = {value: dtype for value, dtype in expected.items()}
        got = node(graph, f"{name}.update").inputs[3:]
        assert got == (*[f"{name}.{state}" for state in states], None, None)[:2]
        for state, dtype in states.items():
            value, parameter = graphs.step.value(f"{name}.{state}"), graphs.step.value(name)
            assert (value.role, value.dtype) == (Role.OPTIMIZER, dtype)
            assert (value.shape, value.layout) == (parameter.shape, parameter.layout)


# --- select_parameters --------------------------------------------------------------------------------

NAMES = ["stem.weight", "stem.bias", "block.0.weight", "block.0.bias", "head.weight", "head.bias"]


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ("full", NAMES),
        ("last:1", NAMES[4:]),
        ("last:2", NAMES[2:]),
        ("last:3", NAMES),
        ("bias", NAMES[1::2]),
        ("head.*", NAMES[4:]),
        ("*.bias, stem.weight", ["stem.weight", "stem.bias", "block.0.bias", "head.bias"]),
        ("block.?.weight", ["block.0.weight"]),
        ("head.bias", ["head.bias"]),
    ],
)
def test_selection_in_the_models_order(update: str, expected: list[str]) -> None:
    assert select_parameters(NAMES, update) == tuple(expected)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ("last:0", "N must be between 1 and 3"),
        ("last:4", "N must be between 1 and 3"),
        ("last:two", "N must be between 1 and 3"),
        ("last:", "N must be between 1 and 3"),
        ("last:-1", "N must be between 1 and 3"),
        ("last:²", "N must be between 1 and 3"),
        ("tail.*", "'tail.*' matches no parameter; use full, last:N, bias, or globs over stem.weight"),
        ("head.*,tail", "'tail' matches no parameter"),
        ("head.*,", "'' matches no parameter"),
        ("", "'' matches no parameter"),
        ("FULL", "'FULL' matches no parameter"),
    ],
)
def test_selections_that_mean_nothing(update: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        select_parameters(NAMES, update)
    assert message in str(error.value) and "--update" in str(error.value) and "\n" not in str(error.value)


def test_selecting_biases_of_a_model_without() -> None:
    with pytest.raises(InputError, match="the model has no biases"):
        select_parameters(["a.weight"], "bias")


def test_gradients_nobody_needs_are_gone_after_selection() -> None:
    """Training the last layer alone needs no input gradient, and the first layers no gradient at all."""
    module, x = build("residual")
    graph = traced_step(module, x, trainable=["3.weight", "3.bias"])
    backward = [item.name for item in graph.nodes if item.operator.pass_name != "forward"]
    assert backward == ["3.weight.gradient", "3.bias.gradient"]


# --- fold_batch_norm ----------------------------------------------------------------------------------


def fold(module: nn.Module, x: torch.Tensor) -> Folded:
    """The folded module, which must compute what the module in evaluation mode computes."""
    folded = fold_batch_norm(module, traced_inference(module, x))
    with torch.no_grad():
        expected, got = module(x), folded.module(x)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    return folded


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("conv_bn_relu", ("1",)),
        ("residual", ("1.bn1", "1.bn2")),
        ("separable", ("1", "4", "7", "10")),
        ("mlp", ("1",)),
    ],
)
def test_folding_keeps_the_numbers_and_leaves_no_norm(name: str, paths: tuple[str, ...]) -> None:
    module, x = build(name)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    folded = fold(module, x)
    assert (folded.folded, folded.kept) == (paths, ())
    assert all(isinstance(folded.module.get_submodule(path), nn.Identity) for path in paths)
    assert not any(key.startswith(f"{path}.") for key in folded.module.state_dict() for path in paths)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    graph = traced_inference(folded.module, x)
    assert not any(isinstance(item.operator, BatchNorm) for item in graph.nodes)


def test_folding_in_float32() -> None:
    module, x = build("separable")
    fold(module.float(), x.float())


def test_folding_keeps_an_existing_bias_and_what_is_frozen_stays_frozen() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False), nn.BatchNorm1d(2)
    ).eval()
    net[0].requires_grad_(False)
    net[3].bias.requires_grad_(False)
    folded = fold(net, torch.randn(2, 3)).module
    assert {name: item.requires_grad for name, item in folded.named_parameters()} == {
        "0.weight": False,
        "0.bias": False,
        "2.weight": True,
        "2.bias": False,
    }


class UsedTwice(nn.Module):
    """A convolution whose output also goes past the norm, one norm after two layers, one layer before two norms."""

    def __init__(self, case: str) -> None:
        super().__init__()
        self.case = case
        self.conv, self.other = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
        self.norm, self.second = nn.BatchNorm2d(2), nn.BatchNorm2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        if self.case == "output twice":
            return functional.relu(self.norm(y)) + y
        if self.case == "norm twice":
            return self.norm(y) + functional.relu(self.norm(self.other(x)))
        return self.norm(y) + functional.relu(self.second(self.conv(functional.relu(x))))


@pytest.mark.parametrize(
    ("case", "kept"),
    [("output twice", ("norm",)), ("norm twice", ("norm",)), ("layer twice", ("norm", "second"))],
)
def test_norms_that_cannot_be_folded_alone_are_kept(case: str, kept: tuple[str, ...]) -> None:
    module = UsedTwice(case).eval()
    with torch.no_grad():
        for norm in (module.norm, module.second):
            norm.running_mean.uniform_(-1, 1)
            norm.weight.uniform_(0.5, 2)
    folded = fold(module, torch.randn(1, 2, 3, 3))
    assert (folded.folded, folded.kept) == ((), kept)


def test_norm_before_its_layer_is_kept_and_reported() -> None:
    module, x = build("pre_activation")
    assert fold(module, x).kept == ("1.bn",)  # the convolution before it is also the shortcut
    alone = nn.Sequential(
        nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Flatten()
    ).eval()
    example = torch.randn(1, 2, 3, 3)
    folded = fold(alone, example)
    assert (folded.folded, folded.kept) == (("3",), ("0",))
    assert compile_network(alone, example, "net", Options()).kept_norms == ("0",)


def test_folding_that_would_change_the_model_is_refused() -> None:
    """The weight is used without the layer, so that the bias that folding adds is lost."""

    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 2, 1, bias=False), nn.BatchNorm2d(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(functional.conv2d(x, self.conv.weight)).flatten(1)

    module = Functional().eval()
    nn.init.constant_(module.norm.bias, 3.0)
    with pytest.raises(InputError, match="--bn frozen"):
        compile_network(module, torch.randn(1, 2, 3, 3), "net", Options())
    assert compile_network(module, torch.randn(1, 2, 3, 3), "net", Options(bn="frozen")).trainable
