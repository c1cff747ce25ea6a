"""A graph run node by node with the operators' NumPy references, in float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from odl.graph import Graph

Arrays = dict[str, NDArray[np.float64]]


def state_of(module: nn.Module) -> Arrays:
    """Parameters and buffers by name, as copies."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: tensor.detach().double().numpy().copy() for name, tensor in tensors.items()}


def interpret(graph: Graph, given: Mapping[str, NDArray[np.float64]]) -> Arrays:
    """Every value of the graph; `given` holds inputs, parameters and statistics, and is left as it is.

    Each result must have the shape that its value states.
    """
    values = {name: array.copy() for name, array in given.items()}
    for node in graph.nodes:
        results = node.operator.reference(**{name: values[value] for name, value in node.inputs.items()})
        assert list(results) == list(node.outputs), node.name
        for output, result in results.items():
            name = node.outputs[output]
            assert result.shape == graph.value(name).shape, f"{node.name}: {name}"
            values[name] = result
    return values


def torch_step(
    module: nn.Module,
    x: NDArray[np.float64],
    target: NDArray[np.float64],
    weight: NDArray[np.float64],
    loss: str,
) -> tuple[float, Arrays]:
    """Loss and parameter gradients by autograd; each sample's loss counts `weight` times."""
    module.zero_grad(set_to_none=True)
    output = module(torch.from_numpy(x))
    if loss == "cross_entropy":
        each = nn.functional.cross_entropy(output, torch.from_numpy(target), reduction="none")
    else:
        each = (output - torch.from_numpy(target)).square().flatten(1).mean(1)
    total = (torch.from_numpy(weight) * each).mean()
    total.backward()
    gradients = {
        name: parameter.grad.numpy().copy()
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    }
    return float(total.detach()), gradients
