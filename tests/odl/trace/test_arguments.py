"""Whatever arguments PyTorch allows a layer, the C computes the same, or compiling is refused in one clear line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import nn

import odl
from odl.errors import InputError

RATE = 0.1


def disturbed(module: nn.Module) -> nn.Module:
    """The module with parameters and statistics that are all different, in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator) + 0.5
                tensor.copy_(noise if name.endswith("var") else tensor + 0.3 * (noise - 1))
    return module.eval()


def norms_train(module: nn.Module) -> nn.Module:
    for child in module.modules():
        child.training = isinstance(child, nn.modules.batchnorm._BatchNorm)
    return module


def agrees(module: nn.Module, x: torch.Tensor, **options: Any) -> bool:
    """Whether forward, loss, step and the forward after it are PyTorch's in float64; InputError where it is refused."""
    options = {"loss": "mse", "bn": "frozen", "dtype": "fp32", **options}
    build = odl.compile(module, x, optimizer=odl.SGD(lr=RATE), **options)
    net, exact, before = build.load(), copy.deepcopy(build.module).double().eval(), x.double()
    if options["bn"] == "fold":
        assert near(net.infer(x), copy.deepcopy(module).double()(before))
    right = near(net.infer(x), exact(before))
    y = torch.randn(net.output.shape, generator=torch.Generator().manual_seed(2)).double()
    if options["bn"] == "train":
        norms_train(exact)
    parameters = [item for item in exact.parameters() if item.requires_grad]
    optimizer = torch.optim.SGD(parameters, RATE)
    loss = functional.mse_loss(exact(before), y)
    loss.backward()
    optimizer.step()
    right &= near(np.array(net.train_step(x, y)), loss)
    got = net.state_dict()
    right &= all(near(got[name].numpy(), item) for name, item in exact.state_dict().items())
    return bool(right and near(net.infer(x), exact.eval()(before)))


def near(got: Any, wanted: torch.Tensor) -> bool:
    """Within fp32's rounding of small networks, which a step of the rate 0.1 exceeds by far; NaN never is."""
    exact = wanted.detach().double().numpy()
    return bool(np.linalg.norm(got - exact) <= 2e-5 * (1 + np.linalg.norm(exact)))


# --- layers with arguments --------------------------------------------------------------------------------


@st.composite
def norms(draw: DrawFn) -> tuple[nn.Module, tuple[int, ...], str]:
    rank = draw(st.integers(2, 5))
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[rank]
    norm = kind(
        4,
        eps=draw(st.sampled_from([1e-5, 0.1])),
        momentum=draw(st.sampled_from([0.1, 0.0, 1.0, None])),
        affine=draw(st.sampled_from([True, True, True, False])),
        track_running_stats=draw(st.sampled_from([True, True, True, False])),
    )
    before = draw(st.sampled_from([nn.Identity(), nn.ReLU()]))
    shape = (draw(st.sampled_from([3, 1])), 4, *(draw(st.integers(1, 3)) for _ in range(rank - 2)))
    return nn.Sequential(before, norm, nn.ReLU()), shape, draw(st.sampled_from(["fold", "frozen", "train"]))


@st.composite
def convolutions(draw: DrawFn) -> tuple[nn.Module, tuple[int, ...], str]:
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    stride = draw(st.sampled_from([1, 2, (1, 2), 3]))
    paddings: list[Any] = [0, 1, (2, 0), "valid"] + ["same"] * (stride == 1)
    channels = draw(st.sampled_from([(4, 4, 4), (4, 4, 1), (4, 3, 1), (4, 8, 4), (4, 4, 2)]))
    layer = nn.Conv2d(
        channels[0],
        channels[1],
        draw(pair),
        stride,
        draw(st.sampled_from(paddings)),
        draw(st.sampled_from([1, 1, 1, 2])),
        channels[2],
        draw(st.booleans()),
        draw(st.sampled_from(["zeros", "zeros", "zeros", "reflect", "replicate", "circular"])),
    )
    first = draw(st.sampled_from([nn.Identity(), nn.Conv2d(4, 4, 1), nn.ZeroPad2d((1, 0, 0, 2))]))
    last = draw(
        st.sampled_from([nn.Identity(), nn.ReLU(), nn.Flatten(), nn.Flatten(2), nn.BatchNorm2d(channels[1])])
    )
    return (
        nn.Sequential(first, layer, last),
        (draw(st.integers(1, 2)), 4, 5, 6),
        draw(st.sampled_from(["fold", "frozen"])),
    )


@st.composite
def pools(draw: DrawFn) -> tuple[nn.Module, tuple[int, ...], str]:
    common = {
        "kernel_size": draw(st.sampled_from([2, 3, (1, 3), (3, 2)])),
        "stride": draw(st.sampled_from([None, 1, 2, (2, 1)])),
        "padding": draw(st.sampled_from([0, 0, (0, 1), 1])),
        "ceil_mode": draw(st.sampled_from([False, False, False, True])),
    }
    divisor = draw(st.sampled_from([None, None, 5]))
    layer = draw(
        st.sampled_from(
            [
                nn.MaxPool2d(**common, dilation=draw(st.sampled_from([1, 1, 1, 2]))),
                nn.AvgPool2d(**common, count_include_pad=draw(st.booleans()), divisor_override=divisor),
                nn.AdaptiveAvgPool2d(draw(st.sampled_from([1, (1, None), 2]))),
                nn.AdaptiveMaxPool2d(1),
            ]
        )
    )
    first = draw(st.sampled_from([nn.Identity(), nn.Conv2d(3, 3, 1), nn.ReLU6()]))
    return nn.Sequential(first, layer, nn.Conv2d(3, 2, 1)), (draw(st.integers(1, 2)), 3, 5, 6), "frozen"


@st.composite
def lines(draw: DrawFn) -> tuple[nn.Module, tuple[int, ...], str]:
    """Linear layers and activations on any rank, 1-D pools."""
    bias = draw(st.booleans())
    between = draw(
        st.sampled_from(
            [
                nn.ReLU(inplace=True),
                nn.Hardtanh(draw(st.sampled_from([-1.0, 0.1, -0.3])), 0.7),
                nn.SiLU(),
                nn.Dropout(),
                nn.Softmax(1),
                nn.LeakyReLU(),
                nn.Threshold(0.1, 0.0),
            ]
        )
    )
    last: list[nn.Module] = [nn.Identity(), nn.ReLU6(inplace=True), nn.Flatten(), nn.Unflatten(1, (1, -1))]
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    if len(shape) == 2:
        last += [nn.AvgPool1d(2), nn.MaxPool1d(2), nn.AdaptiveAvgPool1d(1), nn.BatchNorm1d(shape[1])]
    layers = [nn.Linear(4, 5, bias), between, nn.Linear(5, 4, bias), draw(st.sampled_from(last))]
    return nn.Sequential(*layers), (*shape, 4), draw(st.sampled_from(["fold", "frozen"]))


@settings(max_examples=40)
@given(case=st.one_of(norms(), convolutions(), pools(), lines()))
def test_every_argument_is_computed_as_pytorch_does_or_refused(case: Any) -> None:
    module, shape, bn = case
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    module = disturbed(module)
    try:
        module(x)
    except Exception:
        return  # PyTorch itself refuses
    try:
        right = agrees(module, x, bn=bn)
    except InputError as error:
        right = "\n" not in str(error)
    assert right


# --- what once was wrong and said nothing -----------------------------------------------------------------


@pytest.mark.parametrize("bn", ["fold", "frozen", "train"])
@pytest.mark.parametrize(("norm", "shape"), [(nn.BatchNorm1d, (2, 4, 5)), (nn.BatchNorm3d, (2, 4, 3, 2, 2))])
def test_batch_norm_of_any_rank(norm: Callable[[int], nn.Module], shape: tuple[int, ...], bn: str) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert agrees(disturbed(nn.Sequential(norm(4), nn.ReLU(), norm(4))), x, bn=bn)


class Applied(nn.Module):
    """A function of the input and a model's own parameters and buffer, behind or before a linear layer that trains."""

    def __init__(self, function: Callable[[Any, torch.Tensor], torch.Tensor], first: bool) -> None:
        super().__init__()
        self.layer, self.first, self.function = nn.Linear(4, 4), first, function
        shapes = {"w": (4, 4), "bias": (4,), "one": (1,), "row": (1, 4), "rows": (3, 4)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.ones(shape), requires_grad=False))
        self.register_buffer("count", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer(x) if self.first else x
        x = self.function(self, x)
        return x if self.first else self.layer(x)


def changes_a_buffer(model: Any, x: torch.Tensor) -> torch.Tensor:
    model.count.mul_(0.5)
    return x


@pytest.mark.parametrize("first", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda m, x: torch.addmm(m.bias, x, m.w.t(), alpha=2), "alpha cannot be set"),
        (lambda m, x: torch.addmm(m.bias, x, m.w.t(), beta=2), "beta cannot be set"),
        (lambda m, x: torch.addmm(m.one, x, m.w.t()), r"the bias has shape \(1,\)"),
        (lambda m, x: torch.addmm(m.row, x, m.w.t()), r"the bias has shape \(1, 4\)"),
        (lambda m, x: torch.addmm(m.rows, x, m.w.t()), r"the bias has shape \(3, 4\)"),
        (lambda m, x: x + x.sum(0, keepdim=True), "a sum of activations over the batch is not supported"),
        (changes_a_buffer, "changes its buffer 'count'"),
    ],
)
def test_arguments_that_no_rule_knows_are_refused(
    function: Callable[[Any, torch.Tensor], torch.Tensor], message: str, first: bool
) -> None:
    with pytest.raises(InputError, match=message):
        agrees(Applied(function, first), torch.zeros(3, 4))


def test_a_result_in_another_type_is_refused() -> None:
    model = Applied(lambda m, x: x.view(3, 1, 2, 2).mean((2, 3), dtype=torch.float64), first=True)
    with pytest.raises(InputError, match=r"changing to torch\.float64 is not supported"):
        agrees(model, torch.zeros(3, 4))


def test_an_output_that_was_changed_in_place_is_the_output() -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert agrees(disturbed(nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True))), x)
    assert agrees(Applied(lambda m, x: x.add_(x), first=True).eval(), x)


def test_a_model_whose_tensors_have_the_names_of_the_graphs_own() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.names = ("x", "target", "sample_weight", "loss", "output_gradient", "addmm", "target_")
            for name in self.names:
                self.register_parameter(name, nn.Parameter(torch.zeros(4, 4)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for name in self.names:
                x = functional.silu(functional.linear(x, getattr(self, name)))
            return x

    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert agrees(disturbed(Named()), x)


# --- what is refused by name ------------------------------------------------------------------------------


def test_cross_entropy_over_one_class_is_refused_and_two_or_mse_are_not() -> None:
    x = torch.zeros(2, 4)
    with pytest.raises(InputError, match="cross_entropy over one class is zero whatever the model computes"):
        odl.compile(nn.Linear(4, 1), x)
    with pytest.raises(InputError, match="no parameter to train"):
        odl.compile(nn.Sequential(nn.Flatten(), Applied(lambda m, x: x.detach(), first=True)), x)
    odl.compile(nn.Linear(4, 2), x)
    odl.compile(nn.Linear(4, 1), x, loss="mse")


def test_a_cumulative_average_names_the_norm_and_both_remedies_work() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, momentum=None), nn.ReLU())
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match=r"batch norm '1' \(BatchNorm1d\) has momentum=None.*such as 0.1"):
        agrees(model.eval(), x, bn="train")
    assert agrees(model, x, bn="frozen")
    assert agrees(model, x, bn="fold")
    model[1].momentum = 0.1
    assert agrees(disturbed(model), x, bn="train")


def test_affine_parameters_of_one_and_zero_are_the_remedy_that_is_named() -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    without, remedy = (
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=item)) for item in (False, True)
    )
    with pytest.raises(InputError, match="affine=True begins with a weight of 1 and a bias of 0"):
        agrees(without.eval(), x)
    remedy.load_state_dict(without.state_dict(), strict=False)
    assert torch.equal(remedy.eval()(x), without(x))
    assert agrees(remedy, x)
