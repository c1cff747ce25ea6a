"""What the four networks share: TensorFlow's 'same' padding and a reproducible He initialisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INITIAL_SEED = 0


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros (before, after) one axis of `size` elements, as TensorFlow pads for 'same'.

    The output has ceil(size / stride) elements. What is missing to cover them is split in halves, and the odd
    element goes after (TensorFlow API documentation, `tf.nn`, "Notes on padding").
    """
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's 'same' padding for a known input size.

    Symmetric padding is the convolution's own; asymmetric padding is an explicit zero pad in front of an
    unpadded convolution, the only way PyTorch can express it. Parameter names are those of `nn.Conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int],
        *,
        input_size: tuple[int, int],
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        top, bottom = same_padding(input_size[0], kernel_size[0], stride)
        left, right = same_padding(input_size[1], kernel_size[1], stride)
        symmetric = top == bottom and left == right
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=(top, left) if symmetric else 0,
            groups=groups,
            bias=bias,
        )
        self.zero_pad: tuple[int, int, int, int] | None = None if symmetric else (left, right, top, bottom)

    def forward(self, input: Tensor) -> Tensor:
        """Convolves [N, C, H, W] to [N, out_channels, ceil(H / stride), ceil(W / stride)]."""
        return super().forward(input if self.zero_pad is None else F.pad(input, self.zero_pad))


def he_initialise(module: nn.Module) -> None:
    """He-normal weights (He et al. 2015, eq. 10) and zero biases in every convolution and dense layer."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def build_reproducibly(network: Callable[[], nn.Module]) -> nn.Module:
    """Builds and He-initialises a network, always the same one; the global generator stays untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(INITIAL_SEED)
        module = network()
        he_initialise(module)
    return module
