"""MobileNetV1 with width 0.25: the visual wake words network of MLPerf Tiny (96×96×3 in, 2 classes)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from odl.zoo.layers import SameConv2d

# Output channels and stride of the thirteen separable blocks (Howard et al. 2017, table 1, times 0.25).
BLOCKS = (
    (16, 1),
    (32, 2),
    (32, 1),
    (64, 2),
    (64, 1),
    (128, 2),
    (128, 1),
    (128, 1),
    (128, 1),
    (128, 1),
    (128, 1),
    (256, 2),
    (256, 1),
)


class SeparableBlock(nn.Module):
    """A depthwise 3×3 convolution with the stride, then a pointwise one; batch norm and ReLU after each."""

    def __init__(self, in_channels: int, out_channels: int, *, size: int, stride: int) -> None:
        super().__init__()
        after = -(-size // stride)
        self.depthwise = SameConv2d(
            in_channels, in_channels, (3, 3), input_size=(size, size), stride=stride, groups=in_channels
        )
        self.depthwise_bn = nn.BatchNorm2d(in_channels)
        self.pointwise = SameConv2d(in_channels, out_channels, (1, 1), input_size=(after, after))
        self.pointwise_bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, size, size] to [N, out_channels, size / stride, size / stride]."""
        x = F.relu(self.depthwise_bn(self.depthwise(x)))
        return F.relu(self.pointwise_bn(self.pointwise(x)))


class MobileNetV1(nn.Module):
    """Input [N, 3, 96, 96], output logits [N, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = SameConv2d(3, 8, (3, 3), input_size=(96, 96), stride=2)
        self.bn = nn.BatchNorm2d(8)
        channels, size = 8, 48
        blocks: list[nn.Module] = []
        for out_channels, stride in BLOCKS:
            blocks.append(SeparableBlock(channels, out_channels, size=size, stride=stride))
            channels, size = out_channels, -(-size // stride)
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AvgPool2d(size)
        self.dense = nn.Linear(channels, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Logits; the softmax belongs to the loss."""
        x = F.relu(self.bn(self.conv(x)))
        logits: Tensor = self.dense(self.pool(self.blocks(x)).flatten(1))
        return logits
