"""DS-CNN: the keyword spotting network of MLPerf Tiny (49×10 MFCC in, 12 classes)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from odl.zoo.layers import SameConv2d


class SeparableBlock(nn.Module):
    """A depthwise 3×3 and a pointwise convolution, each with batch norm and ReLU."""

    def __init__(self, channels: int, *, size: tuple[int, int]) -> None:
        super().__init__()
        self.depthwise = SameConv2d(channels, channels, (3, 3), input_size=size, groups=channels)
        self.depthwise_bn = nn.BatchNorm2d(channels)
        self.pointwise = SameConv2d(channels, channels, (1, 1), input_size=size)
        self.pointwise_bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape [N, channels, height, width]."""
        x = F.relu(self.depthwise_bn(self.depthwise(x)))
        return F.relu(self.pointwise_bn(self.pointwise(x)))


class DSCNN(nn.Module):
    """Input [N, 1, 49, 10], output logits [N, 12]. The reference's dropout is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = SameConv2d(1, 64, (10, 4), input_size=(49, 10), stride=2)
        self.bn = nn.BatchNorm2d(64)
        self.blocks = nn.Sequential(*(SeparableBlock(64, size=(25, 5)) for _ in range(4)))
        self.pool = nn.AvgPool2d((25, 5))
        self.dense = nn.Linear(64, 12)

    def forward(self, x: Tensor) -> Tensor:
        """Logits; the softmax belongs to the loss."""
        x = F.relu(self.bn(self.conv(x)))
        logits: Tensor = self.dense(self.pool(self.blocks(x)).flatten(1))
        return logits
