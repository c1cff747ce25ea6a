"""Every operator's NumPy reference, shape rule and MAC count against PyTorch in float64; gradients by autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from odl.graph import Layout
from odl.operators.base import Operator, clamp
from odl.operators.batch_norm import BatchNorm, BatchNormGradient
from odl.operators.channel_sum import ChannelSum
from odl.operators.convolution import Conv2d
from odl.operators.convolution_gradients import Conv2dInputGradient, Conv2dWeightGradient
from odl.operators.elementwise import Add, Relu, ReluGradient
from odl.operators.global_pooling import GlobalAveragePool, GlobalAveragePoolGradient
from odl.operators.im2row import Im2Row
from odl.operators.linear import Linear, LinearInputGradient, LinearWeightGradient
from odl.operators.loss import CrossEntropy, MeanSquaredError
from odl.operators.optimizer import Clear, Refresh
from odl.operators.pooling import (
    AveragePool,
    AveragePoolGradient,
    MaxPool,
    MaxPoolGradient,
)
from odl.operators.shape import ChangeLayout, Pad, Reshape, same_bytes
from odl.operators.squared_sum import SquaredSum
from odl.operators.window import Window
from odl.optimizers import OPTIMIZERS
from odl.optimizers.base import Update

Floats = NDArray[np.float64]
INF = float("inf")


def normal(seed: int, *shape: int) -> Floats:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def leaf(array: Floats) -> torch.Tensor:
    return torch.from_numpy(array.copy()).requires_grad_()


def by_name(operator: Operator, inputs: Sequence[Any]) -> dict[str, Any]:
    """Inputs in the operator's order, None where one is absent, by the operator's names."""
    named = zip(operator.inputs, inputs, strict=False)
    return {name: item for name, item in named if item is not None}


def shapes(operator: Operator, *inputs: tuple[int, ...] | None) -> dict[str, tuple[int, ...]]:
    return operator.shapes(by_name(operator, inputs))


def run(operator: Operator, *inputs: Floats | None) -> dict[str, Floats]:
    """The reference's outputs, whose names and shapes must be those of the shape rule."""
    outputs = operator.reference(**by_name(operator, inputs))
    expected = shapes(operator, *(None if array is None else array.shape for array in inputs))
    assert list(outputs) == list(expected)
    assert {name: output.shape for name, output in outputs.items()} == expected
    assert set(outputs) <= set(operator.outputs)
    return outputs


def only(outputs: Mapping[str, Floats]) -> Floats:
    (output,) = outputs.values()
    return output


def same(got: Any, expected: torch.Tensor | None) -> None:
    assert expected is not None
    np.testing.assert_allclose(got, expected.detach().numpy(), rtol=1e-10, atol=1e-10)


def check_macs(calls: Sequence[tuple[Operator, Sequence[Floats]]], forward: Callable[[], object]) -> None:
    """Each pass has as many as PyTorch counts for its own forward operator (a MAC is two FLOP)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        forward()
    for operator, inputs in calls:
        given = by_name(operator, [array.shape for array in inputs])
        assert operator.macs(given, operator.shapes(given)) == counter.get_total_flops() // 2


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Window, bool, tuple[int, ...], tuple[int, ...], int]:
    """Window, depthwise, shape of x, shape of the weight, seed."""
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 4))
    top, left, bottom, right = padding
    height = draw(st.integers(max(1, kernel[0] - top - bottom), 8))
    width = draw(st.integers(max(1, kernel[1] - left - right), 8))
    depthwise = draw(st.booleans())
    batch, channels, out = draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    weight = (channels, 1, *kernel) if depthwise else (out, channels, *kernel)
    return (
        Window(kernel, stride, padding),
        depthwise,
        (batch, channels, height, width),
        weight,
        draw(st.integers(0, 99)),
    )


def torch_convolution(
    window: Window, depthwise: bool, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    top, left, bottom, right = window.padding
    padded = functional.pad(x, (left, right, top, bottom))
    return functional.conv2d(padded, weight, bias, window.stride, groups=x.shape[1] if depthwise else 1)


ASYMMETRIC = (Window((2, 4), (3, 1), (0, 2, 3, 1)), False, (2, 3, 5, 4), (2, 3, 2, 4), 0)


@settings(max_examples=40)
@given(convolutions())
@example(ASYMMETRIC)
def test_convolution_and_its_gradients(
    case: tuple[Window, bool, tuple[int, ...], tuple[int, ...], int],
) -> None:
    window, depthwise, x_shape, weight_shape, seed = case
    x, weight, bias = normal(seed, *x_shape), normal(seed, *weight_shape), normal(seed, weight_shape[0])
    tx, tw, tb = leaf(x), leaf(weight), leaf(bias)
    expected = torch_convolution(window, depthwise, tx, tw, tb)
    dy = normal(seed + 1, *expected.shape)
    expected.backward(torch.from_numpy(dy))

    forward = Conv2d(window, depthwise)
    same(only(run(forward, x, weight, bias, None)), expected)
    input_gradient = Conv2dInputGradient(window, x_shape, depthwise)
    same(only(run(input_gradient, dy, weight, None, None)), tx.grad)
    weight_gradient = Conv2dWeightGradient(window, weight_shape, depthwise)
    same(only(run(weight_gradient, x, dy)), tw.grad)
    same(only(run(ChannelSum(), dy)), tb.grad)

    calls = ((forward, (x, weight)), (input_gradient, (dy, weight)), (weight_gradient, (x, dy)))
    check_macs(calls, lambda: torch_convolution(window, depthwise, tx, tw))


@settings(max_examples=25)
@given(convolutions())
def test_rows_of_windows_make_a_convolution_without_a_window(
    case: tuple[Window, bool, tuple[int, ...], tuple[int, ...], int],
) -> None:
    window, _, x_shape, weight_shape, seed = case
    weight_shape = (weight_shape[0], x_shape[1], *window.kernel)
    x, weight = normal(seed, *x_shape), normal(seed, *weight_shape)
    tw = leaf(weight)
    expected = torch_convolution(window, False, torch.from_numpy(x), tw)
    dy = normal(seed + 1, *expected.shape)
    expected.backward(torch.from_numpy(dy))
    rows = run(Im2Row(window), x)["rows"]
    forward = Conv2d(window, unrolled=True)
    same(only(run(forward, rows, weight, None, None)), expected)
    given = {"x": rows.shape, "weight": weight_shape}
    assert forward.macs(given, {"y": dy.shape}) == dy.size * weight[0].size
    same(only(run(Conv2dWeightGradient(window, weight_shape, unrolled=True), rows, dy)), tw.grad)


@pytest.mark.parametrize("depthwise", [False, True])
def test_convolution_takes_an_addend_limits_and_a_mask(depthwise: bool) -> None:
    window = Window((3, 2), (2, 1), (1, 0, 0, 1))
    x, weight, bias = normal(0, 2, 3, 5, 4), normal(1, 3, 1 if depthwise else 3, 3, 2), normal(2, 3)
    plain = torch_convolution(window, depthwise, *map(torch.from_numpy, (x, weight, bias)))
    addend = normal(3, *plain.shape)
    operator = Conv2d(window, depthwise, low=-0.5, high=1.0)
    same(only(run(operator, x, weight, bias, addend)), (plain + torch.from_numpy(addend)).clamp(-0.5, 1.0))

    # x itself is the output of a clamp here, and its gradient also comes from elsewhere
    before = leaf(normal(4, *x.shape))
    clamped = functional.hardtanh(before, -0.5, 1.0)
    other = normal(5, *x.shape)
    y = torch_convolution(window, depthwise, clamped, torch.from_numpy(weight))
    dy = normal(6, *y.shape)
    torch.autograd.backward([y, clamped], [torch.from_numpy(dy), torch.from_numpy(other)])
    gradient = Conv2dInputGradient(window, x.shape, depthwise, low=-0.5, high=1.0)
    same(only(run(gradient, dy, weight, other, clamped.detach().numpy())), before.grad)


def test_convolution_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="3 channels, the weight expects 2"):
        shapes(Conv2d(Window((1, 1))), (1, 3, 4, 4), (5, 2, 1, 1))
    with pytest.raises(ValueError, match="5x1 window does not fit in 4x4"):
        shapes(Conv2d(Window((5, 1))), (1, 2, 4, 4), (5, 2, 5, 1))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=20)
def test_linear_and_its_gradients(rows: int, features: int, out: int, seed: int) -> None:
    x, weight, bias, addend = (
        normal(seed, *shape) for shape in ((rows, features), (out, features), (out,), (rows, out))
    )
    before, tw, tb = leaf(normal(seed + 1, rows, features)), leaf(weight), leaf(bias)
    tx = functional.relu6(before)
    x, other = tx.detach().numpy(), normal(seed + 2, rows, features)
    y = functional.linear(tx, tw, tb)
    dy = normal(seed + 3, rows, out)
    torch.autograd.backward([y, tx], [torch.from_numpy(dy), torch.from_numpy(other)])
    same(only(run(Linear(), x, weight, bias, None)), y)
    limited = Linear(low=-0.2, high=0.7)
    same(only(run(limited, x, weight, bias, addend)), (y + torch.from_numpy(addend)).clamp(-0.2, 0.7))
    same(only(run(LinearInputGradient(low=0.0, high=6.0), dy, weight, other, x)), before.grad)
    same(only(run(LinearInputGradient(), dy, weight, None, None)), torch.from_numpy(dy) @ tw)
    same(only(run(LinearWeightGradient(), x, dy)), tw.grad)
    same(only(run(ChannelSum(), dy)), tb.grad)
    calls = (
        (Linear(), (x, weight)),
        (LinearInputGradient(), (dy, weight)),
        (LinearWeightGradient(), (x, dy)),
    )
    check_macs(calls, lambda: torch.from_numpy(x) @ tw.T)


def test_linear_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="got 3 dimensions"):
        shapes(Linear(), (1, 2, 3), (4, 3))
    with pytest.raises(ValueError, match="2 features, the weight expects 3"):
        shapes(Linear(), (1, 2), (4, 3))


@settings(max_examples=30)
@given(
    image=st.booleans(),
    training=st.booleans(),
    channels=st.integers(1, 4),
    wanted=st.tuples(*[st.booleans()] * 3),
    seed=st.integers(0, 99),
)
def test_batch_norm_and_its_gradient(
    image: bool, training: bool, channels: int, wanted: tuple[bool, bool, bool], seed: int
) -> None:
    shape = (2, channels, 3, 2) if image else (3, channels)
    x, gamma, beta, dy = (normal(seed + i, *s) for i, s in enumerate((shape, shape[1:2], shape[1:2], shape)))
    mean, variance = normal(seed + 4, channels), normal(seed + 5, channels) ** 2 + 0.1
    tx, tg, tb = leaf(x), leaf(gamma), leaf(beta)
    running = [torch.from_numpy(item.copy()) for item in (mean, variance)]
    y = functional.batch_norm(tx, *running, tg, tb, training, momentum=0.3, eps=1e-3)
    y.backward(torch.from_numpy(dy))

    own = [mean.copy(), variance.copy()]
    operator = BatchNorm(eps=1e-3, momentum=0.3, training=training)
    outputs = run(operator, x, gamma, beta, *own)
    same(outputs["y"], y)
    for got, expected in zip(own, running, strict=True):  # statistics are updated in place, or left alone
        same(got, expected)
    assert operator.updated == (("mean", "variance") if training else ())
    saved = (outputs["batch_mean"], outputs["batch_inverse_deviation"]) if training else (mean, variance)
    tensors = dict(zip(("dx", "dgamma", "dbeta"), (tx, tg, tb), strict=True))
    names = tuple(name for name, want in zip(tensors, wanted, strict=True) if want)
    gradients = run(BatchNormGradient(1e-3, training, names), dy, x, gamma, *saved)
    assert tuple(gradients) == names
    for name, got in gradients.items():
        same(got, tensors[name].grad)

    limited = BatchNorm(1e-3, 0.3, training, low=0.0, high=0.5)
    same(run(limited, x, gamma, beta, mean.copy(), variance.copy())["y"], y.clamp(0.0, 0.5))


def test_batch_norm_in_training_mode_needs_two_values() -> None:
    with pytest.raises(ValueError, match="more than one value per channel"):
        shapes(BatchNorm(1e-5, 0.1, training=True), (1, 4), (4,), (4,), (4,), (4,))
    frozen = BatchNorm(1e-5, 0.1, training=False)
    assert shapes(frozen, (1, 4), (4,), (4,), (4,), (4,)) == {"y": (1, 4)}


@st.composite
def pools(draw: st.DrawFn) -> tuple[Window, tuple[int, ...], int]:
    """Window with padding of at most half the kernel, as PyTorch demands; shape of x; seed."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    rows, columns = draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2))
    height, width = draw(st.integers(kernel[0], 7)), draw(st.integers(kernel[1], 7))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), height, width)
    return Window(kernel, stride, (rows, columns, rows, columns)), shape, draw(st.integers(0, 99))


@settings(max_examples=40)
@given(pools(), st.booleans(), st.sampled_from([None, 1, 5]))
def test_average_pooling_and_its_gradient(
    case: tuple[Window, tuple[int, ...], int], include: bool, divisor: int | None
) -> None:
    window, shape, seed = case
    x = leaf(normal(seed, *shape))
    y = functional.avg_pool2d(
        x, window.kernel, window.stride, window.padding[:2], False, include, divisor_override=divisor
    )
    dy = normal(seed + 1, *y.shape)
    y.backward(torch.from_numpy(dy))
    same(only(run(AveragePool(window, shape, include, divisor), x.detach().numpy())), y)
    same(only(run(AveragePoolGradient(window, shape, include, divisor), dy)), x.grad)


@settings(max_examples=40)
@given(pools(), st.booleans())
def test_max_pooling_and_its_gradient(case: tuple[Window, tuple[int, ...], int], ties: bool) -> None:
    window, shape, seed = case
    x = leaf(np.round(normal(seed, *shape)) if ties else normal(seed, *shape))
    y = functional.max_pool2d(x, window.kernel, window.stride, window.padding[:2])
    dy = normal(seed + 1, *y.shape)
    y.backward(torch.from_numpy(dy))
    outputs = run(MaxPool(window, shape), x.detach().numpy())
    same(outputs["y"], y)
    assert outputs["winner"].dtype == np.uint8
    same(only(run(MaxPoolGradient(window, shape), dy, outputs["winner"])), x.grad)


def test_max_pooling_keeps_nan_and_refuses_windows_whose_positions_exceed_a_byte() -> None:
    x = np.array([[[[1.0, np.nan, 3.0, 0.0]]]])
    got = run(MaxPool(Window((1, 2), (1, 2)), x.shape), x)["y"]
    assert np.isnan(got[0, 0, 0, 0]) and got[0, 0, 0, 1] == 3.0
    with pytest.raises(ValueError, match="more than 256"):
        shapes(MaxPool(Window((17, 16)), (1, 1, 17, 17)), (1, 1, 17, 17))


@pytest.mark.parametrize("keep", [True, False])
def test_global_pooling_and_its_gradient(keep: bool) -> None:
    x = leaf(normal(0, 2, 3, 4, 5))
    y = x.mean((2, 3), keepdim=keep)
    dy = normal(1, *y.shape)
    y.backward(torch.from_numpy(dy))
    same(only(run(GlobalAveragePool(keep), x.detach().numpy())), y)
    same(only(run(GlobalAveragePoolGradient((2, 3, 4, 5)), dy)), x.grad)


@pytest.mark.parametrize("limits", [(0.0, INF), (0.0, 6.0), (-1.0, 1.0)])
def test_activations_and_their_gradient(limits: tuple[float, float]) -> None:
    low, high = limits
    x = leaf(np.concatenate([4 * normal(0, 40), [low, high if high < INF else 0.0, 0.0]]))
    y = functional.relu(x) if high == INF else functional.hardtanh(x, low, high)
    dy = normal(1, *x.shape)
    y.backward(torch.from_numpy(dy))
    got = run(Relu(low, high), x.detach().numpy())["y"]
    same(got, y)
    same(only(run(ReluGradient(low, high), dy, got)), x.grad)


def test_clamp_keeps_nan() -> None:
    assert np.array_equal(clamp(np.array([np.nan, -1.0, 9.0]), 0.0, 6.0), [np.nan, 0.0, 6.0], equal_nan=True)


def test_addition() -> None:
    a, b = normal(0, 2, 3), normal(1, 2, 3)
    same(only(run(Add(), a, b)), torch.from_numpy(a + b))
    same(only(run(Add(0.0, 0.5), a, b)), torch.from_numpy(a + b).clamp(0.0, 0.5))
    with pytest.raises(ValueError, match="one shape"):
        shapes(Add(), (2, 3), (3,))


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 5), st.sampled_from(["one-hot", "soft", "any"]), st.integers(0, 99))
def test_cross_entropy_with_soft_labels_and_weights(batch: int, classes: int, labels: str, seed: int) -> None:
    logits, weight = leaf(30 * normal(seed, batch, classes)), np.abs(normal(seed + 1, batch))
    target = normal(seed + 2, batch, classes)  # "any": labels that do not sum to one, as unlearning uses
    if labels == "one-hot":
        target = np.eye(classes)[np.argmax(target, axis=1)]
    elif labels == "soft":
        target = np.exp(target) / np.exp(target).sum(axis=1, keepdims=True)
    each = functional.cross_entropy(logits, torch.from_numpy(target), reduction="none")
    expected = (torch.from_numpy(weight) * each).mean()
    expected.backward()
    outputs = run(CrossEntropy(), logits.detach().numpy(), target, weight)
    same(outputs["loss"][0], expected)
    same(outputs["dlogits"], logits.grad)


def test_cross_entropy_takes_rows_of_classes() -> None:
    with pytest.raises(ValueError, match="got 4 dimensions"):
        shapes(CrossEntropy(), (1, 2, 3, 3), (1, 2, 3, 3), (1,))


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 2, 2)])
def test_mean_squared_error_with_weights(shape: tuple[int, ...]) -> None:
    prediction, target, weight = leaf(normal(0, *shape)), normal(1, *shape), np.abs(normal(2, shape[0]))
    each = (prediction - torch.from_numpy(target)).square().flatten(1).mean(1)
    expected = (torch.from_numpy(weight) * each).mean()
    expected.backward()
    outputs = run(MeanSquaredError(), prediction.detach().numpy(), target, weight)
    same(outputs["loss"][0], expected)
    same(outputs["dprediction"], prediction.grad)
    plain = functional.mse_loss(prediction, torch.from_numpy(target))
    ones = np.ones(shape[0])
    same(run(MeanSquaredError(), prediction.detach().numpy(), target, ones)["loss"][0], plain)


def test_views_and_padding() -> None:
    x = normal(0, 2, 3, 4, 5)
    same(only(run(Reshape((2, 60)), x)), torch.from_numpy(x).flatten(1))
    with pytest.raises(ValueError, match="cannot reshape"):
        shapes(Reshape((2, 61)), x.shape)
    same(only(run(ChangeLayout(x.shape, to_channels_first=True), x)), torch.from_numpy(x))
    for top, left, bottom, right in ((1, 2, 0, 3), (-1, -2, 0, -1), (2, -1, -1, 0)):
        expected = functional.pad(torch.from_numpy(x), (left, right, top, bottom))
        same(only(run(Pad((top, left, bottom, right)), x)), expected)


def test_what_only_writes_in_place_has_no_outputs() -> None:
    updates = [Update(kind()) for kind in OPTIMIZERS.values()]
    for operator in (*updates, Refresh(), Clear(), SquaredSum()):
        assert operator.shapes(dict.fromkeys(operator.inputs, (4, 3))) == {}
        assert operator.updated and set(operator.updated) <= set(operator.inputs)
        with pytest.raises(TypeError, match="no value"):
            operator.reference(**dict.fromkeys(operator.inputs, np.zeros(3)))


def test_same_bytes_is_what_memory_says() -> None:
    """Against the definition: write x in one layout, read it under the other shape and layout."""
    shapes = [(2, 12), (2, 3, 2, 2), (2, 12, 1, 1), (2, 1, 3, 4), (24,), (2, 3, 4)]
    for before in shapes:
        for after in shapes:
            for a in (Layout.FLAT, Layout.NHWC):
                for b in (Layout.FLAT, Layout.NHWC):
                    x = np.arange(24).reshape(before)
                    memory = x.transpose(a.permutation(x.ndim)).ravel()
                    order = b.permutation(len(after))
                    seen = memory.reshape([after[axis] for axis in order]).transpose(np.argsort(order))
                    moved = not np.array_equal(seen, x.reshape(after))
                    assert same_bytes(before, a, after, b) is not moved
