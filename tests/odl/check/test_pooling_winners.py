"""Inference, and a step that trains nothing before a max pool, neither compute nor plan the winners' positions."""

import pytest
import torch
from torch import nn

import odl
from odl.graph.ir import DType


def network() -> nn.Module:
    torch.manual_seed(0)
    pool, head = nn.MaxPool2d(3, 2), [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)]
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), pool, *head)


@pytest.mark.parametrize("update", ["full", "last:1"])
def test_a_pool_in_pieces_verifies_and_has_winners_only_for_its_gradient(update: str) -> None:
    build = odl.compile(network(), torch.zeros(1, 3, 48, 48), target="cv32e40p", update=update)
    positions = {
        program.name
        for program, planned in build.compiled.network.schedule.programs.items()
        if any(value.dtype is DType.U8 for value in planned.graph.values.values())
    }
    assert positions == ({"step"} if update == "full" else set())
    report = build.verify(build="exact", steps=1)
    assert report.ok
    assert ("mask" in {row.kind for row in report.rows if row.tensor.startswith("max_pool")}) == (
        update == "full"
    )
