"""Fold batch norm into the convolution or linear layer before it, on the module, in float64.

w' = w gamma / sqrt(var + eps), b' = (b - mean) gamma / sqrt(var + eps) + beta (Jacob et al. 2018,
arXiv 1712.05877, section 3.2).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from odl.graph import Graph
from odl.operators.batch_norm import BatchNorm
from odl.operators.convolution import Conv2d
from odl.operators.linear import Linear
from odl.passes.rewrite import sole_consumer

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class Folded:
    """The module with its foldable batch norms gone, and the paths of those that had to stay."""

    module: nn.Module
    folded: tuple[str, ...]
    kept: tuple[str, ...]


def fold_batch_norm(module: nn.Module, inference: Graph) -> Folded:
    """Fold every batch norm that alone follows a layer; `inference` is the module's graph before any fusion.

    Layer and norm must both be used once: folding changes their parameters for every use. A norm that trains stays behind
    a layer that is frozen.
    A folded norm becomes nn.Identity and the layer gains a bias, so `state_dict` has the layer's names only.
    """
    module = copy.deepcopy(module)
    folded: list[str] = []
    kept: list[str] = []
    for node in inference.nodes:
        if not isinstance(node.operator, BatchNorm):
            continue
        norm_path = node.inputs["gamma"].rpartition(".")[0]
        used_once = len(inference.consumers(node.inputs["gamma"])) == 1
        layer_path = _layer_before(inference, node.inputs["x"]) if used_once else None
        norm = _submodule(module, norm_path)
        layer = _submodule(module, layer_path) if layer_path is not None else None
        if isinstance(layer, _LAYERS) and isinstance(norm, _NORMS) and not _trains_alone(norm, layer):
            _fold(layer, norm)
            _replace(module, norm_path, nn.Identity())
            folded.append(norm_path)
        elif norm_path not in kept:
            kept.append(norm_path)
    return Folded(module, tuple(folded), tuple(kept))


def _layer_before(graph: Graph, name: str) -> str | None:
    producer = graph.producer(name)
    if producer is None or not isinstance(producer.operator, Conv2d | Linear):
        return None
    weight = producer.inputs["weight"]
    if sole_consumer(graph, name) is None or len(graph.consumers(weight)) != 1:
        return None
    return weight.rpartition(".")[0]


def _submodule(module: nn.Module, path: str) -> nn.Module | None:
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None


def _replace(module: nn.Module, path: str, new: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, new)


def _trains_alone(norm: nn.BatchNorm1d | nn.BatchNorm2d, layer: nn.Conv1d | nn.Conv2d | nn.Linear) -> bool:
    """Whether the norm has a parameter that trains and would become part of a frozen one."""
    weight, bias = norm.weight.requires_grad, norm.bias.requires_grad
    frozen_bias = layer.bias is not None and not layer.bias.requires_grad
    return (weight and not layer.weight.requires_grad) or (bias and frozen_bias)


def _fold(layer: nn.Conv1d | nn.Conv2d | nn.Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        shape = (-1,) + (1,) * (layer.weight.dim() - 1)
        bias = 0.0 if layer.bias is None else layer.bias.double()
        weight = layer.weight.double() * factor.reshape(shape)
        shift = (bias - norm.running_mean.double()) * factor + norm.bias.double()
        bias_trains = norm.bias.requires_grad if layer.bias is None else layer.bias.requires_grad
        layer.weight = nn.Parameter(weight.to(layer.weight.dtype), layer.weight.requires_grad)
        layer.bias = nn.Parameter(shift.to(layer.weight.dtype), bias_trains)
