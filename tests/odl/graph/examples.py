"""Small modules like those that users bring, and the graphs that they become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as functional
from torch import nn

from odl.graph import Graph, Node
from odl.passes.rewrite import remove_dead_code
from odl.trace.lowering import lower
from odl.trace.tracing import trace_inference, trace_training


class Residual(nn.Module):
    """A block whose input joins again before the activation, as in ResNet."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + x)


class PreActivation(nn.Module):
    """Batch norm before the convolution: nothing to fold it into."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(functional.relu(self.bn(x))) + x


class PadConv(nn.Module):
    """Zero padding that differs on each side, in two portions, before a strided convolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, (3, 2), stride=2, padding=(1, 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(functional.pad(functional.pad(x, (0, 1, 2, 0)), (1, 0)))


class MeanOverImage(nn.Module):
    """Global average pooling written as a mean."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


class Twice(nn.Module):
    """A sum of two branches of one activation, and of an activation with itself."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.stem = nn.Linear(size, size)
        self.left, self.right = nn.Linear(size, size), nn.Linear(size, size, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.stem(x))
        y = functional.relu6(self.left(x) + self.right(x))
        return y + y


@dataclass(frozen=True)
class Example:
    """A module to build, its input's shape with batch, and the loss that goes with it."""

    factory: Callable[[], nn.Module]
    shape: tuple[int, ...]
    loss: str = "cross_entropy"


def _separable(channels: int, out: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU6(),
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU6(),
    ]


EXAMPLES = {
    "conv_bn_relu": Example(
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1, bias=False),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(3, 4),
        ),
        (2, 2, 5, 4),
    ),
    "residual": Example(
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), Residual(3), MeanOverImage(), nn.Linear(3, 4)),
        (2, 1, 4, 4),
    ),
    "pre_activation": Example(
        lambda: nn.Sequential(nn.Conv2d(1, 3, 1), PreActivation(3), MeanOverImage()), (2, 1, 4, 3)
    ),
    "separable": Example(
        lambda: nn.Sequential(*_separable(2, 4, 2), *_separable(4, 3, 1), MeanOverImage()), (3, 2, 6, 5)
    ),
    "pools_and_flatten": Example(
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2, stride=1, padding=1),
            nn.Conv2d(3, 4, 2),
            nn.AvgPool2d(2, count_include_pad=False, padding=1),
            nn.Flatten(),
            nn.Linear(4 * 2 * 3, 5, bias=False),
        ),
        (2, 2, 5, 6),
    ),
    "spectrogram": Example(
        lambda: nn.Sequential(
            nn.Conv2d(1, 9, (4, 2), stride=(2, 1), padding=(2, 1), bias=False),
            nn.BatchNorm2d(9),
            nn.ReLU(),
            nn.Conv2d(9, 3, 2),
            MeanOverImage(),
        ),
        (2, 1, 7, 4),
    ),
    "mlp": Example(
        lambda: nn.Sequential(
            nn.Linear(5, 4, bias=False),
            nn.BatchNorm1d(4),
            nn.ReLU(inplace=True),
            nn.Linear(4, 3),
            nn.ReLU(inplace=True),
            nn.Linear(3, 5),
        ),
        (4, 5),
        "mse",
    ),
    "padded": Example(
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 1),
            nn.ReLU(),
            PadConv(2, 3),
            nn.Hardtanh(-0.4, 0.9),
            nn.Flatten(),
            nn.Linear(27, 3),
        ),
        (2, 1, 4, 5),
    ),
    "image_out": Example(
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 1)), (2, 2, 4, 4), "mse"
    ),
    "twice": Example(lambda: Twice(4), (3, 4), "mse"),
    "unflatten": Example(
        lambda: nn.Sequential(
            nn.Linear(4, 12), nn.ReLU(), nn.Unflatten(1, (3, 2, 2)), nn.Conv2d(3, 2, 2), nn.Flatten()
        ),
        (2, 4),
    ),
}


def build(name: str) -> tuple[nn.Module, torch.Tensor]:
    """The example in float64 and evaluation mode with statistics unlike those of a new network, and an input."""
    generator = torch.Generator().manual_seed(len(name))
    torch.manual_seed(3)
    module = EXAMPLES[name].factory().double().eval()
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.dim() == 1:
                tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.3)
    return module, torch.randn(EXAMPLES[name].shape, generator=generator, dtype=torch.float64)


def train_norms(module: nn.Module) -> nn.Module:
    """The module with its batch norms in training mode."""
    for child in module.modules():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            child.train()
    return module


def names_of(module: nn.Module) -> list[str]:
    """Names of all parameters."""
    return [name for name, _ in module.named_parameters()]


def traced_step(
    module: nn.Module, x: torch.Tensor, loss: str = "cross_entropy", trainable: list[str] | None = None
) -> Graph:
    """The training graph before any pass, which gives the loss and the gradients."""
    chosen = names_of(module) if trainable is None else trainable
    graph = lower(trace_training(module, x, loss, chosen), "step")
    return remove_dead_code(replace(graph, outputs=("loss",)))


def traced_inference(module: nn.Module, x: torch.Tensor) -> Graph:
    """The inference graph before any pass."""
    return lower(trace_inference(module, x), "infer")


def lines(graph: Graph) -> list[str]:
    """The nodes and results of the graph's text, without what is given to it and without indentation."""
    given = sum(graph.producer(name) is None for name in graph.values)
    return [line.strip() for line in graph.dump().splitlines()[1 + given :]]


def node(graph: Graph, name: str) -> Node:
    """The node of that name."""
    return next(item for item in graph.nodes if item.name == name)
