"""The analytic head against float64: its features, its equations, its scores, and what is left without samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from odl.calibrate import averages
from odl.check.bounds import UNIT_ROUNDOFF
from odl.compiler import OPTIMIZING
from odl.graph.ir import Role
from odl.graph.operator import Array
from odl.learners.analytic_head import AnalyticHead
from odl.operators.analytic_head import MOST_STEPS, AnalyticWeights, Covariance
from odl.passes.rewrite import run_passes
from odl.project.programs import INFER
from odl.project.taps import tapped, upto
from odl.run.net import Net
from odl.trace.lowering import lower
from odl.trace.tracing import trace_inference

_SAMPLES = 6
_UNIT = UNIT_ROUNDOFF["f32"]


@dataclass(frozen=True)
class Finding:
    """What was compared, its error and bound, and the device's bits."""

    tensor: str
    kind: str
    error: float
    bound: float
    bits: Array


def check_head(
    net: Net, module: nn.Module, head: AnalyticHead, random: np.random.Generator, ceiling: float
) -> Iterator[Finding]:
    """Add random samples, solve, infer, and take the samples out again; the net's head is empty before and afterwards.

    `ceiling`: the error of an activation, as a share of its layer's limit.
    """
    x = random.standard_normal((_SAMPLES, *net.input.shape[1:])).astype(np.float32)
    labels = np.arange(_SAMPLES) % net.output.shape[1]
    net.head_reset()
    steps, before = [], net.tensor("head:sums").astype(int)
    for sample, label in zip(x, labels, strict=True):
        net.head_add(sample, [label])
        after = net.tensor("head:sums").astype(int)
        steps.append((after - before)[label])
        before = after
    features = np.array(steps)
    exact = np.clip(_features(net, module, head, x), -MOST_STEPS, MOST_STEPS)
    beyond = np.maximum(np.abs(features - exact) - 0.5, 0.0)  # half a step is the rounding's
    yield Finding("head features", "feature", float(beyond.max()) / MOST_STEPS, ceiling, features)
    yield from _solution(net, head, x, features)
    net.head_remove(x, labels)
    kept = [net.tensor(name) for name, value in net.tensors().items() if _is_own(name, value.role)]
    left = np.concatenate([array.astype(float).reshape(-1) for array in kept])
    yield Finding("head sums", "removal", float(np.abs(left).max()), 0.0, left)


def _is_own(name: str, role: Role) -> bool:
    return role is Role.RECORD and name.startswith(f"{AnalyticHead.name}:")


def _features(net: Net, module: nn.Module, head: AnalyticHead, x: Array) -> Array:
    """Features in steps, not rounded, in float64 from the device's own weights."""
    graph = run_passes(lower(trace_inference(module, torch.from_numpy(x[:1])), INFER.name), OPTIMIZING)
    taps = tapped(graph, head.layers)
    part = upto(graph, taps)
    given = next(value for value in graph.values.values() if value.role is Role.INPUT)
    state = {
        name: net.tensor(name).astype(float) for name, value in net.tensors().items() if value.role.of_model
    }
    rows = []
    for sample in x:
        found = averages(part, taps, {**state, given.name: sample[None].astype(float)})
        scaled = [array / limit for array, limit in zip(found, head.limits, strict=True)]
        rows.append(MOST_STEPS * np.concatenate(scaled, axis=1)[0])
    return np.array(rows)


def _solution(net: Net, head: AnalyticHead, x: Array, features: Array) -> Iterator[Finding]:
    """What is left of the equations, and the scores that follow from the weights."""
    net.head_solve()
    gram, sums, counts, weights, bias = (
        net.tensor(f"head:{name}") for name in ("gram", "sums", "counts", "weights", "bias")
    )
    within, size = head.form == "slda", sums.shape[1]
    matrix = np.zeros((size, size))
    upper = Covariance(head.shrinkage, within).reference(gram=gram, sums=sums, counts=counts)["a"]
    matrix[np.triu_indices(size)] = upper
    matrix += np.triu(matrix, 1).T
    factor = np.linalg.cholesky(matrix).T[np.triu_indices(size)]
    wanted = AnalyticWeights(within).reference(u=factor, sums=sums, counts=counts)
    seen = counts > 0
    residual = (weights - wanted["weights"])[seen] @ matrix
    scale = np.linalg.norm(matrix, 2) * np.linalg.norm(wanted["weights"][seen])
    error = float(np.linalg.norm(residual) / scale)
    yield Finding("head weights", "solution", error, 8 * (size + 8) * _UNIT, weights)
    scores = net.head_infer(x)
    exact = features @ weights.astype(float).T + bias
    most = np.abs(features) @ np.abs(weights.astype(float)).T + np.abs(bias)
    error = float((np.abs(scores - exact) / np.maximum(most, 1e-30)).max())
    yield Finding("head scores", "scores", error, (size + 2) * _UNIT, scores)
