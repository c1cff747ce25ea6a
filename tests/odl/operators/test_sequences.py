"""Sequences [N,C,L]: convolutions, norms and poolings of one dimension, as images of one row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import odl
from odl.operators.convolution import Conv2d
from odl.operators.convolution_gradients import Conv2dInputGradient, Conv2dWeightGradient
from odl.operators.global_pooling import GlobalAveragePool, GlobalAveragePoolGradient
from odl.operators.im2row import Im2Row
from odl.operators.window import Window


class Sequences(nn.Module):
    """Layers of one dimension: strided, depthwise and pointwise, with a residual, norms and both poolings."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(
            nn.Conv1d(3, 8, 5, stride=2, padding=2, bias=False), nn.BatchNorm1d(8), nn.ReLU()
        )
        self.pool = nn.MaxPool1d(3, 2, padding=1)
        self.depthwise = nn.Sequential(
            nn.ConstantPad1d((1, 2), 0.0),
            nn.Conv1d(8, 8, 4, groups=8, bias=False),
            nn.BatchNorm1d(8),
            nn.ReLU6(),
        )
        self.pointwise, self.average, self.head = nn.Conv1d(8, 8, 1), nn.AvgPool1d(2), nn.Linear(8, 3)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.5, 2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.first(x))
        x = self.average(torch.relu(x + self.pointwise(self.depthwise(x))))
        return self.head(x.mean(2))


@settings(max_examples=30)
@given(data=st.data())
def test_references_are_pytorch(data: st.DataObject) -> None:
    draw = data.draw
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    left, right = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    n, c, length = draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(kernel, 9))
    depthwise = draw(st.booleans())
    weight_shape = (c, 1, kernel) if depthwise else (draw(st.integers(1, 4)), c, kernel)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    x, w = random.normal(size=(n, c, length)), random.normal(size=weight_shape)
    tx, tw = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
    y = functional.conv1d(functional.pad(tx, (left, right)), tw, None, stride, groups=c if depthwise else 1)
    dy = random.normal(size=tuple(y.shape))
    y.backward(torch.tensor(dy))
    window = Window((1, kernel), (1, stride), (0, left, 0, right))
    same(Conv2d(window, depthwise).reference(x=x, weight=w)["y"], y)
    same(Conv2dInputGradient(window, x.shape, depthwise).reference(dy=dy, weight=w)["dx"], tx.grad)
    same(Conv2dWeightGradient(window, weight_shape, depthwise).reference(x=x, dy=dy)["dw"], tw.grad)
    if not depthwise:
        rows = Im2Row(window).reference(x=x)["rows"]
        same(Conv2d(window, unrolled=True).reference(x=rows, weight=w)["y"], y)
        same(
            Conv2dWeightGradient(window, weight_shape, unrolled=True).reference(x=rows, dy=dy)["dw"], tw.grad
        )
    tx.grad = None
    for keep in (False, True):
        mean = tx.mean(2, keepdim=keep)
        same(GlobalAveragePool(keep).reference(x=x)["y"], mean)
        (gradient,) = torch.autograd.grad(mean.sum(), tx)
        ones = np.ones(tuple(mean.shape))
        same(GlobalAveragePoolGradient(x.shape).reference(dy=ones)["dx"], gradient)


def same(got: Any, expected: torch.Tensor | None) -> None:
    assert expected is not None
    np.testing.assert_allclose(got, expected.detach().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "mixed"])
@pytest.mark.parametrize("bn", ["fold", "frozen", "train"])
def test_every_gradient_on_the_host(bn: str, dtype: str) -> None:
    report = odl.compile(Sequences(), torch.zeros(2, 3, 32), dtype=dtype, bn=bn).verify(steps=2)
    assert report.ok, report.worst


def test_a_sequence_that_comes_out_has_the_targets_order() -> None:
    model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.Tanh(), nn.Conv1d(4, 2, 3))
    report = odl.compile(model, torch.zeros(2, 3, 16), loss="mse", dtype="fp32").verify(steps=2)
    assert report.ok, report.worst


@pytest.mark.parametrize("target", ["cv32e40p", "qemu"])
def test_bits_of_devices_are_the_hosts(target: str) -> None:
    report = odl.compile(Sequences(), torch.zeros(1, 3, 32), dtype="mixed", target=target).verify(steps=1)
    assert report.ok, report.worst
    assert any(row.bit_exact for row in report.rows)
