"""Every node knows the module that it computes for, forward and backward, whatever passes make of it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from torch import nn

from odl.compiler import compile_network
from odl.graph import Graph
from odl.options import Options
from odl.precision import Precision
from odl.project.programs import INFER, STEP
from tests.odl.graph.examples import traced_step


class Block(nn.Module):
    """A layer of each kind that has no parameters, one of them called twice, and one that is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.act = nn.ReLU()
        self.swish = nn.SiLU()
        self.pool = nn.MaxPool2d(2)
        self.mean = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.swish(self.pool(self.act(self.norm(self.conv(x)))))
        return functional.relu(self.mean(self.act(y)))


def model() -> nn.Module:
    return nn.Sequential(Block(), nn.Flatten(), nn.Linear(2, 3))


def layers(graph: Graph) -> dict[str, set[str]]:
    """The layers of each operator's nodes."""
    found: dict[str, set[str]] = {}
    for node in graph.nodes:
        found.setdefault(node.operator.title, set()).add(node.layer)
    return found


def test_forward_and_backward_have_the_layer_of_their_module() -> None:
    found = layers(traced_step(model(), torch.zeros(1, 2, 4, 4)))
    assert found["Conv2d"] == found["Conv2dWeightGradient"] == {"0.conv"}
    assert found["MaxPool"] == found["MaxPoolGradient"] == {"0.pool"}
    assert found["Silu"] == found["SiluGradient"] == {"0.swish"}
    assert found["GlobalAveragePool"] == found["GlobalAveragePoolGradient"] == {"0.mean"}
    assert found["Relu"] == found["ReluGradient"] == {"0", "0.act"}
    assert found["Linear"] == found["LinearInputGradient"] == found["LinearWeightGradient"] == {"2"}
    assert found["Reshape"] == {"1"}
    assert found["CrossEntropy"] == {""}


@pytest.mark.parametrize("norm", ["fold", "train", "frozen"])
def test_passes_keep_the_layer(norm: str) -> None:
    options = Options(dtype=Precision.MIXED, bn=norm)
    compiled = compile_network(model(), torch.zeros(2, 2, 4, 4), "net", options)
    for program in (STEP, INFER):
        graph = compiled.network.schedule.programs[program].graph
        for node in graph.nodes:
            computes = node.operator.pass_name != "update" and node.operator.title not in (
                "CrossEntropy",
                "Copy",
            )
            assert bool(node.layer) == computes, node
