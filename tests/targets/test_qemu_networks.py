"""Whole training steps on QEMU: bits of the host with as many lanes, within the float64 bounds, and their instructions."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import odl
from odl.bench import Measurement, measure
from odl.errors import CheckFailedError, InputError, MissingToolError, OdlError
from odl.models import resolve
from odl.run.device import DeviceNet
from odl.run.load import load_net
from odl.targets.common.toolchain import find_toolchain
from odl.targets.cv32e40p.description import Cluster
from odl.targets.qemu.emulation import find_qemu
from odl.targets.qemu.machine import Machine
from tests.sampling import every_pair

MODELS, DTYPES = ("dscnn", "resnet8"), ("fp16", "mixed")
PLACES = [("zfh", None), ("zfh_zbb", None), ("zvfh", 128), ("zvfh", 256)]


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    try:
        find_qemu()
        find_toolchain()
    except MissingToolError as error:
        pytest.skip(str(error))


@cache
def compiled(model: str, dtype: str, isa: str, harts: int) -> odl.Build:
    made = resolve(model)
    return odl.compile(
        made.module,
        made.example(1),
        loss=made.loss,
        dtype=dtype,
        target="qemu",
        isa=isa,
        cores=harts,
        name=model,
    )


def assert_verified(build: odl.Build, vlen: int | None = None, steps: int = 2) -> None:
    report = build.verify(vlen=vlen, steps=steps, accumulated=2)
    assert report.ok, [row for row in report.rows if not row.ok]
    compared = [row for row in report.rows if row.bit_exact is not None]
    assert all(row.bit_exact for row in compared)
    assert {"loss", "gradient", "weight", "inference"} <= {row.kind for row in compared}


@every_pair(model=MODELS, dtype=DTYPES, harts=(1, 8), place=PLACES)
def test_two_steps_have_the_hosts_bits_and_keep_their_bounds(
    model: str, dtype: str, harts: int, place: tuple[str, int | None]
) -> None:
    isa, vlen = place
    assert_verified(compiled(model, dtype, isa, harts), vlen)


class Odd(nn.Module):
    """Channels that are no multiple of any vector, and the kinds of layer that the two networks lack."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 11, 3, padding=1)
        self.norm = nn.BatchNorm2d(11)
        self.depthwise = nn.Conv2d(11, 11, 3, stride=2, padding=1, groups=11)
        self.second = nn.Conv2d(11, 9, 1)
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Linear(9 * 2 * 2, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = nn.functional.relu6(self.second(self.depthwise(x)))
        return self.last(self.pool(x).flatten(1))


def odd(isa: str, **options: Any) -> odl.Build:
    torch.manual_seed(0)
    return odl.compile(Odd(), torch.zeros(1, 3, 8, 8), target="qemu", isa=isa, prefix="net", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "fp32", "cores": 3},
        {"dtype": "mixed", "bn": "train", "optimizer": odl.SGD(0.01, momentum=0.9)},
        {"dtype": "fp16", "bn": "frozen", "optimizer": odl.Adam(0.01)},
        {"dtype": "mixed", "accumulate": True, "cores": 16},
        {"dtype": "fp16", "update": "last:1"},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
@pytest.mark.parametrize("isa", ["zfh", "zfh_zbb", "zvfh"])
def test_bits_and_bounds_for_every_option(isa: str, options: dict[str, Any]) -> None:
    assert_verified(odd(isa, **options), steps=1)


def test_a_step_that_overflows_is_skipped_there_too() -> None:
    net = odd("zvfh", dtype="mixed", loss_scale=65536.0).load()
    before = net.state_dict()
    net.train_step(np.full((1, 3, 8, 8), 3e4), 1)
    assert net.skipped_steps == 1 and net.loss_scale == 32768.0
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


# ------------------------------------------------------------------------------------------------ instructions
@cache
def counted(model: str, dtype: str, isa: str, harts: int = 1, vlen: int = 128) -> Measurement:
    build = compiled(model, dtype, isa, harts)
    build.load()
    assert build.directory is not None
    return measure(build.directory, Machine(isa, harts, vlen, counted=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_take_a_third_of_the_instructions_at_most(dtype: str) -> None:
    scalar, vector = (counted("resnet8", dtype, isa) for isa in ("zfh", "zvfh"))
    assert scalar.macs == vector.macs
    assert scalar.count >= 3 * vector.count


def test_bit_manipulation_saves_instructions() -> None:
    plain, more = (counted("dscnn", "fp16", isa) for isa in ("zfh", "zfh_zbb"))
    assert more.macs == plain.macs and more.count < plain.count


def test_longer_registers_change_no_count_and_harts_add_little() -> None:
    one = counted("dscnn", "fp16", "zvfh")
    assert counted("dscnn", "fp16", "zvfh", vlen=256).count == one.count
    assert one.count < counted("dscnn", "fp16", "zvfh", harts=8).count < 1.5 * one.count


def test_the_report_speaks_of_instructions_and_never_of_cycles() -> None:
    count = counted("dscnn", "fp16", "zvfh")
    report = count.as_json()
    assert report["instructions"] == sum(item["instructions"] for item in report["operators"])
    assert sum(item["macs"] for item in report["operators"]) == report["macs"] == count.macs
    assert "cycles" not in str(report) and "clk" not in str(report)


def test_nothing_is_called_cycles_where_none_are_counted() -> None:
    net = odd("zfh", dtype="fp16").load()
    assert isinstance(net, DeviceNet)
    net.train_step(np.zeros((1, 3, 8, 8)), 1)
    assert net.unit == ""
    with pytest.raises(OdlError, match="target qemu counts no cycles"):
        _ = net.cycles


# ------------------------------------------------------------------------------------------------------ faults
def test_a_wrong_result_is_found(tmp_path: Path) -> None:
    """The vector dialect subtracts products instead of adding them: the bits differ from the host's."""
    build = odd("zvfh", dtype="fp16")
    directory = build.save(tmp_path / "net")
    header = directory / "isa" / "rvv.h"
    text = header.read_text()
    assert "return __riscv_vfmacc_vv_f16m1(sum, a, b, ODL_LANES_f16);" in text
    header.write_text(text.replace("vfmacc_vv_f16m1(sum", "vfnmsac_vv_f16m1(sum"))
    report = build.verify(steps=1)
    assert not report.ok
    assert [row for row in report.rows if row.bit_exact is False and row.kind == "gradient"]


def test_an_exception_on_the_device_is_one_clear_error(tmp_path: Path) -> None:
    build = odd("zfh", dtype="fp16")
    directory = build.save(tmp_path / "net")
    file = directory / "net.c"
    call = "static void run_step(uint32_t core, uint32_t cores) {\n"
    assert call in file.read_text()
    trap = '#ifdef __riscv\n__asm__ volatile("unimp");\n#endif\n'
    file.write_text(file.read_text().replace(call, call + trap))
    with pytest.raises(
        CheckFailedError, match=r"status 126: odl: trap: illegal instruction, hart 0x0+, pc 0x8"
    ):
        build.load().train_step(np.zeros((1, 3, 8, 8)), 1)


def test_a_machine_and_a_project_must_fit(tmp_path: Path) -> None:
    scalar = odd("zfh", dtype="fp16").save(tmp_path / "net")
    with pytest.raises(
        InputError, match='vlen=256 goes with projects compiled for target qemu with isa="zvfh"'
    ):
        load_net(scalar, vlen=256)
    with pytest.raises(InputError, match="compiled for 'qemu'; compile it with target=\"cv32e40p\""):
        DeviceNet(scalar, Cluster())
    with pytest.raises(InputError, match="vlen=100: must be 128, 256, 512 or 1024"):
        Machine(vlen=100)
