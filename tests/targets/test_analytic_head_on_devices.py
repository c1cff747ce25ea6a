"""The analytic head on simulated devices: the host's bits, in planned memory, whatever fits beside the cores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import odl
from odl.errors import InputError
from odl.project.status import Status
from odl.run.device import DeviceNet
from tests.networks import INPUT, samples

#: With 3,072 bytes of L1 the sums of products come in runs of rows, and the equations are solved in L2.
TARGETS = [
    {"target": "cv32e40p", "cores": 8},
    {"target": "cv32e40p", "cores": 3, "l1": 3072},
    {"target": "qemu", "isa": "zfh"},
]
X, Y = samples(12)


def network() -> nn.Module:
    """Features of two layers, 44 in all."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 40, 1), nn.ReLU(), nn.Flatten(), nn.Linear(240, 3)
    )


@pytest.mark.parametrize("form", ["slda", "ridge"])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_device_adds_is_cut_off_goes_on_and_forgets_as_the_host_does(
    target: dict[str, Any], form: str
) -> None:
    head = odl.AnalyticHead(layers=("0", "2"), form=form, shrinkage=0.1)
    build = odl.compile(network(), torch.zeros(1, *INPUT), learn=head, calibration=X[:6], **target)
    device, host, never = build.load(), build.load("exact"), build.load("exact")
    assert isinstance(device, DeviceNet)
    for net in (device, host):
        net.head_add(X[:8], Y[:8])
        net.head_solve()
    assert device.save() == host.save()
    device = build.load()
    device.load(host.save())
    device.head_add(X[8:], Y[8:])
    device.head_remove(X[[1, 9, 4]], Y[[1, 9, 4]])
    with pytest.raises(InputError, match=Status.HEAD_UNSOLVED.text.partition(":")[0]):
        device.head_infer(X[:1])
    kept = [0, 2, 3, 5, 6, 7, 8, 10, 11]
    never.head_add(X[kept], Y[kept])
    for net in (device, never):
        net.head_solve()
    assert device.save() == never.save()
    assert np.array_equal(device.head_infer(X[:3]), never.head_infer(X[:3]))
    assert isinstance(device, DeviceNet)
    canaries = device.canaries()
    assert not any(canary.missed for canary in canaries), canaries
