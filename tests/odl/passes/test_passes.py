"""Passes: the graph before and the graph expected after, as text; and after every pass the numbers of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import nn

from odl.errors import InputError
from odl.graph import Graph, Layout, Node
from odl.operators.elementwise import Relu
from odl.operators.im2row import Im2Row
from odl.operators.shape import Pad
from odl.passes.fuse import fuse_elementwise
from odl.passes.fuse_padding import fuse_padding
from odl.passes.layout import choose_layouts
from odl.passes.rewrite import remove_dead_code
from odl.passes.select import select_parameters
from odl.passes.unroll import unroll_windows
from tests.odl.graph.by_hand import IMAGE, back, by_hand, conv, relu
from tests.odl.graph.examples import (
    EXAMPLES,
    PadConv,
    build,
    lines,
    traced_inference,
    traced_step,
    train_norms,
)
from tests.odl.graph.interpret import interpret, state_of, torch_step

PASSES: dict[str, Callable[[Graph], Graph]] = {
    "traced": lambda graph: graph,
    "remove_dead_code": remove_dead_code,
    "fuse_padding": fuse_padding,
    "unroll_windows": unroll_windows,
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


# --- graphs as text -----------------------------------------------------------------------------------


def test_dump_is_the_whole_graph_as_text() -> None:
    graph = by_hand([conv("y", "x"), Node("z", Relu(0.0, 6.0), {"x": "y"}, {"y": "z"})], ("z",), {"w1": "y"})
    assert graph.dump() == (
        "graph g\n"
        "  x: input f32[1x2x4x4] nhwc\n"
        "  w1: parameter f32[2x2x1x1] ohwi\n"
        f"  y: Conv2d[window=1x1](x=x, weight=w1) -> y: {IMAGE}\n"
        f"  z: Relu[high=6](x=y) -> z: {IMAGE}\n"
        "  return z\n"
        "  gradient w1 = y\n"
    )


# --- remove_dead_code ---------------------------------------------------------------------------------


def test_dead_code_goes_and_what_it_alone_read() -> None:
    graph = remove_dead_code(
        by_hand([conv("y", "x"), conv("dead", "x", "w2"), conv("deader", "dead", "w2")], ("y",))
    )
    assert lines(graph) == [f"y: Conv2d[window=1x1](x=x, weight=w1) -> y: {IMAGE}", "return y"]
    assert set(graph.values) == {"x", "w1", "y"}


def test_dead_code_keeps_updates_of_running_statistics() -> None:
    module = train_norms(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval())
    graph = traced_step(module, torch.randn(4, 3), "mse")
    alone = remove_dead_code(replace(graph, outputs=(), gradients={}))
    assert [item.name for item in alone.nodes] == ["0", "1"]
    assert alone.nodes[1].writes == ("1", "1_1", "1_2", "1.running_mean", "1.running_var")
    frozen = traced_step(module.eval(), torch.randn(4, 3), "mse")
    assert remove_dead_code(replace(frozen, outputs=(), gradients={})).nodes == ()


# --- unroll_windows -----------------------------------------------------------------------------------


def test_rows_are_made_once_for_a_convolution_and_its_weight_gradient() -> None:
    module, x = build("spectrogram")
    graph = unroll_windows(traced_step(module, x))
    rows = [item for item in graph.nodes if isinstance(item.operator, Im2Row)]
    assert [(item.name, item.inputs) for item in rows] == [("0.im2row", {"x": "x"})]
    assert graph.value("0.im2row").shape == (2, 8, 4, 5)
    readers = [(item.name, type(item.operator).__name__) for item in graph.consumers("0.im2row")]
    assert readers == [("0", "Conv2d"), ("0.weight.gradient", "Conv2dWeightGradient")]
    assert all(item.operator.unrolled for item in graph.consumers("0.im2row"))  # type: ignore[attr-defined]
    assert unroll_windows(graph) == graph


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 32, 2),  # enough input channels
        nn.Conv2d(3, 32, 3),  # rows of an odd length
        nn.Conv2d(1, 7, (4, 2)),  # rows longer than the layer is wide
        nn.Conv2d(2, 8, 1),  # rows that are there already
        nn.Conv2d(2, 2, 2, groups=2),
    ],
)
def test_rows_are_not_made_where_they_do_not_pay(layer: nn.Conv2d) -> None:
    graph = traced_inference(layer, torch.randn(1, layer.in_channels, 5, 5))
    assert unroll_windows(graph) == graph


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
        f"a: Conv2d[window=1x1](x=x, weight=a.weight) -> a: {IMAGE}",
        f"b: Conv2d[window={window}](x=a, weight=b.weight) -> b: activation f32[1x1x3x2] nhwc",
        "loss: MeanSquaredError(prediction=b, target=target, sample_weight=sample_weight) -> loss: loss f32[1] flat, "
        "output_gradient: gradient f32[1x1x3x2] nhwc",
        f"b.weight.gradient: Conv2dWeightGradient[window={window} weight_shape=1,2,3,3](x=a, dy=output_gradient) -> "
        "b.weight.gradient: parameter_gradient f32[1x2x3x3] ohwi",
        f"b.input_gradient: Conv2dInputGradient[window={window} input_shape=1,2,4,4]"
        "(dy=output_gradient, weight=b.weight) -> constant_pad_nd_1: gradient f32[1x2x4x4] nhwc",
        "a.weight.gradient: Conv2dWeightGradient[window=1x1 weight_shape=2,1,1,1](x=x, dy=constant_pad_nd_1) -> "
        "a.weight.gradient: parameter_gradient f32[2x1x1x1] ohwi",
        "return loss",
        "gradient a.weight = a.weight.gradient",
        "gradient b.weight = b.weight.gradient",
    ]


def test_padding_that_is_padded_again_joins_too() -> None:
    module = PadConv(1, 2)
    graph = fuse_padding(traced_inference(module, torch.randn(1, 1, 4, 5)))
    assert lines(graph)[0].startswith(
        "conv: Conv2d[window=3x2 stride=2x2 padding=3,1,1,1](x=x, weight=conv.weight"
    )
    assert len(graph.nodes) == 1


def test_padding_that_something_else_reads_stays_for_it() -> None:
    pad = Node("p", Pad((1, 1, 1, 1)), {"x": "x"}, {"y": "p"})
    graph = by_hand([pad, conv("y", "p"), relu("z", "p")], ("y", "z"))
    assert [type(item.operator).__name__ for item in fuse_padding(graph).nodes] == ["Pad", "Conv2d", "Relu"]
    assert fuse_padding(graph).nodes[1].inputs["x"] == "x"


@pytest.mark.parametrize("amounts", [(-1, -1, -1, -1), (1, -1, 0, 0)])
def test_a_crop_before_a_convolution_stays(amounts: tuple[int, int, int, int]) -> None:
    graph = by_hand([Node("p", Pad(amounts), {"x": "x"}, {"y": "p"}), conv("y", "p")], ("y",))
    assert fuse_padding(graph).nodes == graph.nodes


def test_a_crop_of_a_gradient_with_another_reader_stays() -> None:
    crop = Node("c", Pad((-1, 0, 0, 0)), {"x": "g"}, {"y": "c"})
    graph = by_hand([back("g", "x"), crop, relu("z", "g")], ("c", "z"))
    assert fuse_padding(graph).nodes == graph.nodes


# --- choose_layouts -----------------------------------------------------------------------------------


def test_flattening_an_image_copies_it_and_its_gradient() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Flatten(), nn.Linear(32, 3, bias=False))
    graph = choose_layouts(traced_step(net, torch.randn(1, 1, 4, 4)))
    text = [line for line in lines(graph) if "Layout" in line or "Reshape" in line]
    assert text == [
        "view.layout: ChangeLayout[image=1,2,4,4 to_channels_first=True](x=0) -> "
        "view.layout: activation f32[1x2x4x4] flat",
        "view: Reshape[shape=1,32](x=view.layout) -> view: activation f32[1x32] flat",
        "view_1.layout: Reshape[shape=1,2,4,4](x=2.input_gradient) -> view_1.layout: gradient f32[1x2x4x4] flat",
        "view_1: ChangeLayout[image=1,2,4,4 to_channels_first=False](x=view_1.layout) -> "
        "view_1: gradient f32[1x2x4x4] nhwc",
    ]


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (2, 1, 4, 3), (1, 1, 1, 5)])
def test_flattening_what_lies_in_order_already_copies_nothing(shape: tuple[int, ...]) -> None:
    net = nn.Sequential(nn.ReLU(), nn.Flatten())
    graph = choose_layouts(traced_inference(net, torch.randn(shape)))
    assert [type(item.operator).__name__ for item in graph.nodes] == ["Relu", "Reshape"]


def test_reshaping_an_image_to_another_copies_the_first() -> None:
    class Wider(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.relu().view(1, 4, 2, 4)

    graph = choose_layouts(traced_inference(Wider(), torch.randn(1, 2, 4, 4)))
    assert [line for line in lines(graph) if "Layout" in line or "Reshape" in line] == [
        "view.layout: ChangeLayout[image=1,2,4,4 to_channels_first=True](x=relu) -> "
        "view.layout: activation f32[1x2x4x4] flat",
        "view: Reshape[shape=1,4,2,4](x=view.layout) -> view: activation f32[1x4x2x4] flat",
    ]


def test_a_sequence_is_channels_last_where_convolutions_read_it() -> None:
    net = nn.Sequential(nn.Conv1d(2, 3, 1), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2))
    graph = choose_layouts(traced_inference(net, torch.randn(1, 2, 4)))
    assert graph.value("x").layout is Layout.NHWC
    assert [line for line in lines(graph) if "Layout" in line or "Reshape" in line] == [
        "view.layout: ChangeLayout[image=1,3,4 to_channels_first=True](x=tanh) -> "
        "view.layout: activation f32[1x3x4] flat",
        "view: Reshape[shape=1,12](x=view.layout) -> view: activation f32[1x12] flat",
    ]


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
    assert message in str(error.value) and "update" in str(error.value) and "\n" not in str(error.value)


def test_selecting_biases_of_a_model_without() -> None:
    with pytest.raises(InputError, match="the model has no biases"):
        select_parameters(["a.weight"], "bias")


def test_gradients_nobody_needs_are_gone_after_selection() -> None:
    """Training the last layer alone needs no input gradient, and the first layers no gradient at all."""
    module, x = build("residual")
    graph = traced_step(module, x, trainable=["3.weight", "3.bias"])
    backward = [item.name for item in graph.nodes if item.operator.pass_name != "forward"]
    assert backward == ["3.weight.gradient", "3.bias.gradient"]
