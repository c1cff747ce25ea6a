"""Saving and loading on the device itself changes no bit of the 50 steps that follow."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import odl
from odl.codegen.project import write_project
from odl.run.library import build_program

PROGRAM = Path(__file__).parent / "programs" / "saved_state.c"


@pytest.mark.parametrize("dtype", ["mixed", "fp16"])
@pytest.mark.parametrize("target", [{"target": "qemu"}, {"target": "cv32e40p", "cores": 2}], ids=str)
def test_fifty_steps_after_a_load_have_the_same_bits(
    tmp_path: Path, target: dict[str, Any], dtype: str
) -> None:
    torch.manual_seed(0)
    build = odl.compile(
        nn.Linear(6, 3), torch.zeros(1, 6), dtype=dtype, optimizer=odl.Adam(), prefix="net", **target
    )
    write_project(build.compiled.network, tmp_path / "net")
    (tmp_path / "net" / "device.c").write_text(PROGRAM.read_text())
    program = build_program(tmp_path / "net", publish=False)
    options = build.compiled.network.options
    session = options.description.session(options.core_count, None)
    result = session.run(program, {}, ["net_request"], [])
    saved, loaded, steps, differ = struct.unpack("<4I", result.dumps["net_request"])
    assert (saved, loaded, steps, differ) == (0, 0, 53, 0)
