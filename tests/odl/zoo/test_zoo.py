"""The zoo: published sizes, TensorFlow's padding against an independent formula, and reproducible builds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from odl import zoo
from odl.errors import InputError

# Weights without biases, forward and step MACs; the total with biases, batch norm and its statistics is what
# the reference models' published summaries state.
SIZES = {
    "resnet8": (77_360, 12.50e6, 37.1e6, 78_666),
    "dscnn": (22_016, 2.66e6, 7.65e6, 24_908),
    "autoencoder": (264_192, 0.264e6, 0.711e6, 269_992),
    "mobilenetv1": (208_112, 7.49e6, 21.97e6, 221_794),
}


def layers(module: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize("name", zoo.MODELS)
def test_sizes_are_the_published_ones(name: str) -> None:
    model = zoo.get(name)
    module = model.factory()
    weights, forward, step, total = SIZES[name]
    macs = zoo.count_macs(module, model.input_shape)
    assert sum(layer.weight.numel() for layer in layers(module)) == weights
    assert macs.forward == pytest.approx(forward, rel=2e-3)
    assert macs.step == pytest.approx(step, rel=2e-3)
    tensors = [*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())]
    assert sum(tensor.numel() for tensor in tensors) == total


@pytest.mark.parametrize("name", zoo.MODELS)
def test_output_shape_and_gradients(name: str) -> None:
    model = zoo.get(name)
    module = model.factory().eval()
    x = torch.randn(2, *model.input_shape, generator=torch.Generator().manual_seed(1))
    output = module(x)
    assert output.shape == ((2, *model.input_shape) if model.classes is None else (2, model.classes))
    output.square().mean().backward()
    for parameter_name, parameter in module.named_parameters():
        gradient = parameter.grad
        assert gradient is not None and gradient.isfinite().all() and gradient.abs().max() > 0, parameter_name


@pytest.mark.parametrize("name", zoo.MODELS)
def test_builds_are_identical_and_leave_the_global_generator_alone(name: str) -> None:
    torch.manual_seed(1)
    first = zoo.get(name).factory().state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))
    torch.manual_seed(2)
    second = zoo.get(name).factory().state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_step_macs_follow_what_is_trained() -> None:
    model = zoo.get("resnet8")
    module = model.factory()
    full = zoo.count_macs(module, model.input_shape)
    first_layer = 32 * 32 * 16 * 27
    assert full.step == 3 * full.forward - first_layer
    for parameter_name, parameter in module.named_parameters():
        parameter.requires_grad_(parameter_name.startswith("dense"))
    assert zoo.count_macs(module, model.input_shape) == zoo.Macs(full.forward, full.forward + 640)


def test_counting_macs_changes_nothing() -> None:
    module = zoo.get("dscnn").factory().train()
    module.bn.eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    zoo.count_macs(module, (1, 49, 10))
    assert module.training and not module.bn.training
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert all(not layer._forward_hooks for layer in layers(module))


def test_unknown_name_lists_the_models() -> None:
    with pytest.raises(InputError, match="resnet8, dscnn, autoencoder, mobilenetv1"):
        zoo.get("resnet9")


def tensorflow_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's second published form: it branches on size mod stride instead of counting the outputs."""
    along = max(kernel - (stride if size % stride == 0 else size % stride), 0)
    before = along // 2
    return before, along - before


def test_same_padding_against_the_other_formula() -> None:
    for size, kernel, stride in itertools.product(range(1, 30), range(1, 12), range(1, 6)):
        assert zoo.same_padding(size, kernel, stride) == tensorflow_padding(size, kernel, stride)


def same_convolution(x: NDArray[np.float64], weight: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
    """The definition: input outside the image is skipped. x [C, H, W], weight [O, C, kh, kw]."""
    height, width = x.shape[1:]
    top, left = (
        tensorflow_padding(s, k, stride)[0] for s, k in zip(x.shape[1:], weight.shape[2:], strict=True)
    )
    result = np.zeros((len(weight), -(-height // stride), -(-width // stride)))
    for i, j, u, v in itertools.product(*map(range, (*result.shape[1:], *weight.shape[2:]))):
        row, column = i * stride + u - top, j * stride + v - left
        if 0 <= row < height and 0 <= column < width:
            result[:, i, j] += weight[:, :, u, v] @ x[:, row, column]
    return result


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
def test_same_convolution_against_its_definition(
    size: tuple[int, int], kernel: tuple[int, int], stride: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    layer = zoo.SameConv2d(2, 3, kernel, input_size=size, stride=stride, bias=False).double()
    x, weight = generator.normal(size=(2, *size)), generator.normal(size=(3, 2, *kernel))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        output = layer(torch.from_numpy(x)[None])[0].numpy()
    np.testing.assert_allclose(output, same_convolution(x, weight, stride), rtol=1e-12, atol=1e-12)


def test_paddings_of_the_networks() -> None:
    assert zoo.ResNet8().stack2.conv1.zero_pad == (0, 1, 0, 1)
    assert zoo.ResNet8().stack2.conv2.padding == (1, 1)
    assert zoo.DSCNN().conv.zero_pad == (1, 1, 4, 5)
    assert zoo.MobileNetV1().conv.zero_pad == (0, 1, 0, 1)
