"""ResNet8: the image classification network of MLPerf Tiny (32×32×3 in, 10 classes)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from odl.zoo.layers import SameConv2d


class ResidualStack(nn.Module):
    """Two 3×3 convolutions beside a shortcut: the identity, or a 1×1 convolution where the size changes."""

    def __init__(self, in_channels: int, out_channels: int, *, size: int, stride: int) -> None:
        super().__init__()
        half = -(-size // stride)
        self.conv1 = SameConv2d(in_channels, out_channels, (3, 3), input_size=(size, size), stride=stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = SameConv2d(out_channels, out_channels, (3, 3), input_size=(half, half))
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = SameConv2d(
                in_channels, out_channels, (1, 1), input_size=(size, size), stride=stride
            )

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, size, size] to [N, out_channels, size / stride, size / stride]."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(self.shortcut(x) + y)


class ResNet8(nn.Module):
    """Input [N, 3, 32, 32], output logits [N, 10].

    Convolutions have a bias besides their batch norm, and shortcuts have no batch norm, as in the reference.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = SameConv2d(3, 16, (3, 3), input_size=(32, 32))
        self.bn = nn.BatchNorm2d(16)
        self.stack1 = ResidualStack(16, 16, size=32, stride=1)
        self.stack2 = ResidualStack(16, 32, size=32, stride=2)
        self.stack3 = ResidualStack(32, 64, size=16, stride=2)
        self.pool = nn.AvgPool2d(8)
        self.dense = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits; the softmax belongs to the loss."""
        x = F.relu(self.bn(self.conv(x)))
        x = self.stack3(self.stack2(self.stack1(x)))
        logits: Tensor = self.dense(self.pool(x).flatten(1))
        return logits
