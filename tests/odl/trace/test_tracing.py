"""Tracing: what is refused, in one clear line that names operator and place, and what is traced as it should be."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import nn

from odl.compiler import Compiled, compile_network
from odl.errors import InputError
from odl.graph import Layout, Role
from odl.options import Options
from odl.precision import Precision
from odl.project.programs import STEP
from tests.odl.graph.examples import build, lines, traced_inference, traced_step, train_norms

IMAGE = torch.zeros(2, 2, 6, 6)
ROWS = torch.zeros(2, 4)
NEW_CONVOLUTION = "supported: 1-D and 2-D convolution with groups=1, or depthwise"
SUPPORTED = (
    "supported operators: abs, adaptive_avg_pool2d, add, addmm, avg_pool2d, cat, celu, channel_shuffle, clamp"
)


def compiled(module: Any, example: Any = ROWS, **options: Any) -> Compiled:
    torch.manual_seed(0)
    return compile_network(module, example, "net", Options(dtype=Precision.FP32, **options))


def refusal(module: Any, example: Any = ROWS, **options: Any) -> str:
    """The one line with which compiling is refused."""
    with pytest.raises(InputError) as caught:
        compiled(module, example, **options)
    message = str(caught.value)
    assert message and "\n" not in message
    return message


class InBlock(nn.Module):
    """A user's model with a layer somewhere inside; a supported one of the same type stands before it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.block = nn.Sequential(nn.ReLU(inplace=True), layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.block(self.stem(x))).mean((2, 3))


class Function(nn.Module):
    """A linear layer and whatever a user does with its output."""

    def __init__(self, function: Callable[[torch.Tensor], Any], bias: bool = True) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4, bias)
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self.layer(x))


# --- operators ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "operator", "what"),
    [
        (nn.Mish(), "aten.mish.default", SUPPORTED),
        (nn.LogSigmoid(), "aten.log_sigmoid_forward.default", SUPPORTED),
        (nn.GroupNorm(2, 4), "aten.native_group_norm.default", SUPPORTED),
        (
            nn.BatchNorm2d(4, track_running_stats=False),
            "aten._native_batch_norm_legit.no_stats",
            "statistics is not supported; batch norm with track_running_stats=True is",
        ),
        (
            nn.BatchNorm2d(4, affine=False),
            "aten._native_batch_norm_legit_no_training",
            "without affine parameters is not supported; affine=True begins",
        ),
        (
            nn.Conv2d(4, 4, 3, groups=2),
            "aten.convolution.default",
            f"2 groups over 4 channels.*{NEW_CONVOLUTION}",
        ),
        (
            nn.Conv2d(4, 8, 3, groups=4),
            "aten.convolution.default",
            f"4 groups over 4 channels.*{NEW_CONVOLUTION}",
        ),
        (
            nn.Conv2d(4, 4, 3, dilation=2),
            "aten.convolution.default",
            rf"dilation \(2, 2\).*{NEW_CONVOLUTION}",
        ),
        (
            nn.ConvTranspose2d(4, 4, 3),
            "aten.convolution.default",
            f"transposed convolution.*{NEW_CONVOLUTION}",
        ),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "aten.reflection_pad2d.default", SUPPORTED),
        (nn.MaxPool2d(2, dilation=2), "aten.max_pool2d_with_indices.default", "dilation is not supported"),
        (
            nn.MaxPool2d(4, ceil_mode=True),
            "aten.max_pool2d_with_indices.default",
            "ceil_mode is not supported",
        ),
        (nn.MaxPool2d(17), "aten.max_pool2d_with_indices.default", "more than 256"),
        (nn.AdaptiveAvgPool2d(2), "aten._adaptive_avg_pool2d.default", r"to 1x1 only, got \[2, 2\]"),
        (nn.ConstantPad2d(1, 2.0), "aten.constant_pad_nd.default", "only zero padding"),
        (nn.ZeroPad2d(1), "aten.constant_pad_nd.default", "padding that convolutions alone read"),
        (nn.ZeroPad2d(-1), "aten.constant_pad_nd.default", "no cropping"),
    ],
    ids=lambda item: type(item).__name__ if isinstance(item, nn.Module) else "",
)
def test_layers_that_are_not_supported(layer: nn.Module, operator: str, what: str) -> None:
    size = 40 if isinstance(layer, nn.MaxPool2d) else 6
    message = refusal(InBlock(layer), torch.zeros(1, 2, size, size))
    assert message.startswith(operator)
    assert f"in 'block.1' ({type(layer).__name__})" in message
    assert re.search(what, message), message


def test_other_kinds_of_networks_are_refused_at_the_layer_that_makes_them_so() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory, self.head = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.memory(x)[0][:, -1])

    assert f"in 'memory' (LSTM) is not supported; {SUPPORTED}" in refusal(Recurrent(), torch.zeros(1, 2, 4))
    volume = nn.Sequential(nn.Conv3d(2, 3, 3), nn.Flatten())
    assert "in '0' (Conv3d): 3-dimensional convolution" in refusal(volume, torch.zeros(1, 2, 6, 6, 6))


@pytest.mark.parametrize(
    ("function", "operator", "what"),
    [
        (lambda y: y.exp(), "aten.exp.default", SUPPORTED),
        (lambda y: y.cumsum(1), "aten.cumsum.default", SUPPORTED),
        (lambda y: torch.softmax(y, 1), "aten._softmax.default", SUPPORTED),
        (lambda y: y.flip(1), "aten.flip.default", SUPPORTED),
        (lambda y: y.mean(0, keepdim=True) + y, "aten.mean.dim", "a sum of activations over the batch"),
        (lambda y: y @ y.view(4, 2).view(4, 2), "aten.mm.default", "a product of two activations"),
    ],
)
def test_functions_that_are_not_supported(
    function: Callable[[torch.Tensor], Any], operator: str, what: str
) -> None:
    message = refusal(Function(function))
    assert message.startswith(f"{operator} in the model's own forward") and what in message


class WithTensor(nn.Module):
    """A parameter or buffer of the user's own beside a layer."""

    def __init__(self, kind: str, use: Callable[[Any, torch.Tensor], torch.Tensor], *shape: int) -> None:
        super().__init__()
        self.layer, self.use = nn.Linear(4, 4), use
        if kind == "parameter":
            self.own = nn.Parameter(torch.ones(shape))
        else:
            self.register_buffer("own", torch.ones(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.use(self, self.layer(x))


@pytest.mark.parametrize("kind", ["parameter", "buffer"])
def test_a_number_of_the_models_own_and_a_reshaped_weight_are_refused(kind: str) -> None:
    assert "a scalar" in refusal(WithTensor(kind, lambda self, y: y + self.own))
    reshaped = WithTensor(kind, lambda self, y: functional.linear(y, self.own.view(3, 4)), 12)
    assert "reshaping parameter 'own' is not supported here" in refusal(reshaped)


def test_weights_that_are_not_parameters_are_refused() -> None:
    linear = WithTensor("buffer", lambda self, y: functional.linear(y, self.own), 3, 4)
    assert "a product of two activations" in refusal(linear)
    biased = WithTensor("buffer", lambda self, y: functional.linear(y, self.layer.weight, self.own), 4)
    assert "weights and biases must be parameters, which 'own' is not" in refusal(biased)
    image = WithTensor(
        "buffer", lambda self, y: functional.conv2d(y.view(2, 1, 2, 2), self.own).flatten(1), 3, 1, 2, 2
    )
    assert "weights and biases must be parameters, which 'own' is not" in refusal(image)


# --- models and inputs that do not fit ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda y: (y, y), "returns a tuple; it must return one tensor"),
        (lambda y: {"y": y}, "returns a dict; it must return one tensor"),
        (lambda y: y.argmax(1), "returns torch.int64"),
        (
            lambda y: y.sum(),
            r"returns shape () for an input of shape (2, 4); it must return one row per sample",
        ),
        (lambda y: y[:1], "returns shape (1, 4) for an input of shape (2, 4)"),
        (
            lambda y: y.view(2, 2, 2),
            "cross_entropy takes scores [batch, classes] and the model returns shape (2, 2, 2)",
        ),
        (lambda y: y if y.sum() > 0 else y + y, "control flow depends on its data"),
        (lambda y: y.undefined, "no attribute 'undefined'"),
    ],
)
def test_outputs_that_cannot_be_trained_on(function: Callable[[torch.Tensor], Any], what: str) -> None:
    assert what in refusal(Function(function))


@pytest.mark.parametrize(
    ("example", "what"),
    [
        (torch.zeros(2, 5), "does not run on an input of shape (2, 5): mat1 and mat2"),
        (torch.zeros(4), "shape (4,); it needs a batch axis"),
        (torch.zeros(0, 4), "shape (0, 4); no axis may be empty"),
        ("image.png", "the example input is a str; it must be a tensor"),
    ],
)
def test_inputs_that_do_not_fit(example: Any, what: str) -> None:
    assert what in refusal(nn.Linear(4, 3), example)


def test_inputs_of_other_types_are_taken() -> None:
    for module, example in (
        (nn.Linear(4, 3).half(), torch.zeros(2, 4, dtype=torch.long)),
        (nn.Linear(4, 3).double(), np.zeros((2, 4))),
    ):
        result = compiled(module, example)
        assert result.trainable == ("weight", "bias") and result.module.weight.dtype is torch.float32


def test_what_is_no_module_is_refused() -> None:
    assert refusal("resnet8") == "the model is a str; it must be a torch.nn.Module"
    assert "it must be a torch.nn.Module" in refusal(nn.Linear)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["0.weight", "1.running_var"])
@pytest.mark.parametrize("norms", ["fold", "train"])
def test_weights_that_are_not_numbers_are_named(bad: float, where: str, norms: str) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    with torch.no_grad():
        net.state_dict()[where].flatten()[0] = bad
    assert refusal(net, bn=norms) == f"the model's '{where}' holds NaN or infinity; load sound weights first"


def test_batch_norm_that_trains_on_one_value_says_what_to_do() -> None:
    message = refusal(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), torch.zeros(1, 4), bn="train")
    assert (
        "more than 1 value per channel" in message
        and 'bn="fold" or "frozen", or a batch of at least 2' in message
    )


# --- which parameters train ---------------------------------------------------------------------------


class Shared(nn.Module):
    """A layer applied twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(functional.relu(self.layer(x))))


def test_a_parameter_used_twice_is_refused_unless_it_stays() -> None:
    assert refusal(Shared()).startswith("parameter 'layer.weight' is used more than once; give each use")
    assert compiled(Shared(), update="last:1").trainable == ("head.weight", "head.bias")
    with pytest.raises(InputError, match="used more than once"):  # PyTorch's own graph says it too
        traced_step(Shared(), ROWS, "mse")


def test_a_parameter_with_two_names_is_refused() -> None:
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    assert "parameter '0.weight' is also '1.weight'" in refusal(tied)


def test_parameters_that_the_loss_does_not_depend_on_get_no_gradient_and_no_memory() -> None:
    class Unused(Shared):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x)

    module = Unused()
    result = compiled(module)
    assert result.trainable == ("head.weight", "head.bias")
    held = {value.name for value, _ in result.network.schedule.persistent}
    assert held == {"head.weight", "head.bias"}
    assert "no parameter to train" in refusal(module, update="layer.*")


def test_frozen_parameters_stay_frozen() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    net[0].requires_grad_(False)
    result = compiled(net)
    assert result.trainable == ("2.weight", "2.bias")
    step = result.network.schedule.programs[STEP].graph
    assert set(step.gradients) == {"2.weight", "2.bias"}
    assert compiled(net, update="bias").trainable == ("2.bias",)
    assert "'0.*' matches no parameter" in refusal(net, update="0.*")


def test_nothing_to_train_is_refused() -> None:
    net = nn.Sequential(nn.Linear(4, 3)).requires_grad_(False)
    for module in (net, nn.ReLU(), nn.Flatten()):
        assert refusal(module).startswith("nothing to train: the model has no parameter, or all are frozen")


def test_compiling_leaves_the_model_and_the_mode_of_autograd_alone() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for norms in ("fold", "train"):
        compiled(net, bn=norms)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(child.training for child in net.modules()) and torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(not child._forward_hooks and not child._forward_pre_hooks for child in net.modules())


# --- the graph that comes out ---------------------------------------------------------------------------


def test_training_graph_as_text() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Dropout(0.5), nn.Linear(2, 2, bias=False)).eval()
    assert traced_step(net, torch.zeros(4, 3)).dump() == (
        "graph step\n"
        "  0.weight: parameter f32[2x3] flat\n"
        "  0.bias: parameter f32[2] flat\n"
        "  3.weight: parameter f32[2x2] flat\n"
        "  x: input f32[4x3] flat\n"
        "  target: target f32[4x2] flat\n"
        "  sample_weight: sample_weight f32[4] flat\n"
        "  0: Linear(x=x, weight=0.weight, bias=0.bias) -> 0: activation f32[4x2] flat\n"
        "  relu: Relu(x=0) -> relu: activation f32[4x2] flat\n"
        "  3: Linear(x=relu, weight=3.weight) -> 3: activation f32[4x2] flat\n"
        "  loss: CrossEntropy(logits=3, target=target, sample_weight=sample_weight) -> loss: loss f32[1] flat, "
        "output_gradient: gradient f32[4x2] flat\n"
        "  3.weight.gradient: LinearWeightGradient(x=relu, dy=output_gradient) -> "
        "3.weight.gradient: parameter_gradient f32[2x2] flat\n"
        "  3.input_gradient: LinearInputGradient(dy=output_gradient, weight=3.weight) -> "
        "3.input_gradient: gradient f32[4x2] flat\n"
        "  threshold_backward: ReluGradient(dy=3.input_gradient, y=relu) -> "
        "threshold_backward: gradient f32[4x2] flat\n"
        "  0.weight.gradient: LinearWeightGradient(x=x, dy=threshold_backward) -> "
        "0.weight.gradient: parameter_gradient f32[2x3] flat\n"
        "  0.bias.gradient: ChannelSum(dy=threshold_backward) -> 0.bias.gradient: parameter_gradient f32[2] flat\n"
        "  return loss\n"
        "  gradient 0.weight = 0.weight.gradient\n"
        "  gradient 0.bias = 0.bias.gradient\n"
        "  gradient 3.weight = 3.weight.gradient\n"
    )


def test_layouts_and_roles() -> None:
    module, x = build("separable")
    graph = traced_step(train_norms(module), x)
    assert graph.value("x").layout is Layout.NHWC and graph.value("x").role is Role.INPUT
    assert graph.value("0.weight").layout is Layout.HWC  # depthwise
    assert graph.value("3.weight").layout is Layout.OHWI
    for parameter, gradient in graph.gradients.items():
        own, other = graph.value(parameter), graph.value(gradient)
        assert (other.name, other.source, other.role) == (
            f"{parameter}.gradient",
            parameter,
            Role.PARAMETER_GRADIENT,
        )
        assert (other.shape, other.layout) == (own.shape, own.layout)
    roles = {name: value.role for name, value in graph.values.items() if "running" in name}
    assert len(roles) == 8 and set(roles.values()) == {Role.STATISTIC}
    assert not any("num_batches" in name for name in graph.values)


def test_dropout_and_the_batch_norms_mode_do_not_show_in_inference() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5), nn.BatchNorm1d(2)).train()
    assert lines(traced_inference(net, torch.zeros(4, 3))) == [
        "0: Linear(x=x, weight=0.weight, bias=0.bias) -> 0: activation f32[4x2] flat",
        "2: BatchNorm[eps=1e-05 momentum=0.1 training=False]"
        "(x=0, gamma=2.weight, beta=2.bias, mean=2.running_mean, variance=2.running_var) -> 2: activation f32[4x2] flat",
        "return 2",
    ]


def test_the_same_model_gives_the_same_stages() -> None:
    module, x = build("mlp")
    first, second = (compile_network(module, x, "net", Options()).stages for _ in range(2))
    assert first == second and list(first) == ["1-traced", "2-fused", "3-training", "4-plan"]
