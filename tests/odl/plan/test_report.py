"""What the manifest and the table say about plans."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from rich.console import Console

from odl.graph.ir import Purpose
from odl.plan.buffers import Buffer
from odl.plan.pack import plan_memory
from odl.plan.report import memory_table
from odl.project.manifest import MemoryEntry


@pytest.fixture
def plans():
    arena = [
        Buffer("weight", 1_002, Purpose.WEIGHTS, 0, 3, persistent=True),
        Buffer("relu", 4_000, Purpose.ACTIVATIONS, 1, 2),
        Buffer("logits", 40, Purpose.ACTIVATIONS, 2, 3),
    ]
    local = [Buffer("tile", 64, Purpose.GRADIENTS, 2, 2)]
    return {"ram": plan_memory(arena, "ram", 8_192), "l1": plan_memory(local, "l1", None)}


def test_manifest_has_peak_and_purposes_that_add_up(plans):
    manifest = json.loads(json.dumps({name: asdict(MemoryEntry.of(plan)) for name, plan in plans.items()}))
    ram = manifest["ram"]
    assert ram["peak_bytes"] == 5_044 == sum(ram["by_purpose"].values())
    assert ram["by_purpose"] == {
        "weights": 1_002,
        "activations": 4_040,
        "gradients": 0,
        "optimizer": 0,
        "statistics": 0,
        "scratch": 0,
        "inputs": 0,
        "replay": 0,
        "unused": 2,
    }
    assert (ram["persistent_bytes"], ram["capacity_bytes"], ram["peak_step"]) == (1_004, 8_192, 2)
    assert ram["buffers"][0]["name"] == "weight"
    assert ram["buffers"][0]["first_step"] is None
    assert manifest["l1"]["peak_bytes"] == 64


def test_table_shows_the_purposes_that_occur(plans):
    console = Console(width=80, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(memory_table(plans))
    text = capture.get()
    for expected in (
        "weights",
        "1,002",
        "activations",
        "4,040",
        "gradients",
        "64",
        "unused",
        "5,044",
        "8,192",
    ):
        assert expected in text
    assert "optimizer" not in text
