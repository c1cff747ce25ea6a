"""Whole training steps on the RTL: the host's bits, within the float64 bounds, in just the planned memory."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import odl
from odl.cli.app import main
from odl.errors import CheckFailedError, InputError, MissingToolError
from odl.run.canary import compare
from odl.run.device import DeviceNet
from odl.targets.cv32e40p.build_simulator import build_simulator
from odl.targets.cv32e40p.description import Cluster


@pytest.fixture(scope="module", autouse=True)
def simulator() -> None:
    try:
        build_simulator(Cluster())
    except MissingToolError as error:
        pytest.skip(str(error))


class Small(nn.Module):
    """A network with every kind of layer that has a kernel of its own, small enough for seconds on the RTL."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.depthwise = nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6)
        self.second = nn.Conv2d(6, 8, 1)
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Linear(8 * 2 * 2, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = nn.functional.relu6(self.second(self.depthwise(x)))
        return self.last(self.pool(x).flatten(1))


def compiled(dtype: str, **options: object) -> odl.Build:
    torch.manual_seed(0)
    return odl.compile(Small(), torch.zeros(1, 3, 8, 8), dtype=dtype, target="cv32e40p", **options)  # type: ignore[arg-type]


def assert_verified(build: odl.Build, steps: int = 2) -> None:
    report = build.verify(steps=steps, accumulated=2)
    assert report.ok, [row for row in report.rows if not row.ok]
    kinds = {row.kind for row in report.rows if row.bit_exact}
    assert {"loss", "gradient", "weight", "inference"} <= kinds
    assert not [row for row in report.rows if row.bit_exact is False]


@pytest.mark.parametrize("cores", [1, 2, 4, 8])
@pytest.mark.parametrize("dtype", ["fp16", "mixed"])
def test_bits_and_bounds_for_any_number_of_cores(dtype: str, cores: int) -> None:
    assert_verified(compiled(dtype, cores=cores))


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "fp32"},
        {"dtype": "mixed", "bn": "train", "optimizer": odl.SGD(0.01, momentum=0.9)},
        {"dtype": "fp16", "bn": "frozen", "optimizer": odl.Adam(0.01)},
        {"dtype": "mixed", "optimizer": odl.RMSprop(momentum=0.9)},
        {"dtype": "fp16", "optimizer": odl.AdamW(0.01)},
        {"dtype": "mixed", "accumulate": True, "optimizer": odl.SGD(0.01, momentum=0.9, weight_decay=0.1)},
        {"dtype": "mixed", "l1": 2048},
        {"dtype": "fp16", "update": "last:1"},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_bits_and_bounds_for_every_option(options: dict[str, object]) -> None:
    assert_verified(compiled(**options), steps=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"dtype": "fp16"}, {"dtype": "mixed", "l1": 2048}], ids=str)
def test_the_device_touches_the_planned_memory_and_nothing_else(options: dict[str, object]) -> None:
    net = compiled(**options).load()  # type: ignore[arg-type]
    assert isinstance(net, DeviceNet)
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8))
    net.train_step(x, 1)
    net.infer(x)
    assert net.skipped_steps == 0
    canaries = net.canaries()
    assert {canary.memory for canary in canaries} == {"l1", "l2"}
    for canary in canaries:
        assert canary.ok, canary
        peak = net.manifest["memory"][canary.memory]["peak_bytes"]
        assert canary.planned_bytes == peak and 0 < canary.touched_bytes <= peak


@pytest.mark.parametrize(
    "options", [{"dtype": "fp32"}, {"dtype": "mixed"}, {"dtype": "mixed", "l1": 2048}], ids=str
)
def test_the_device_sums_the_hosts_squared_gradients(options: dict[str, object]) -> None:
    build = compiled(learn="importance", **options)  # type: ignore[arg-type]
    device, host = build.load(), build.load("exact")
    assert isinstance(device, DeviceNet)
    random = np.random.default_rng(0)
    for label in range(3):
        x = random.standard_normal((1, 3, 8, 8))
        assert device.call("importance", x, label) == host.call("importance", x, label)
        assert device.train_step(x, label) == host.train_step(x, label)
    assert device.save() == host.save()
    assert device.tensor("first.weight.importance").all()
    assert all(canary.ok for canary in device.canaries())
    for net in (device, host):
        net.call("reset_importance")
    assert device.save() == host.save() and not device.tensor("first.weight.importance").any()


def test_a_canary_finds_a_word_too_many_and_a_word_too_few() -> None:
    plan = {"peak_bytes": 12, "buffers": [{"name": "step/x", "offset": 4, "size_bytes": 6}]}
    right = np.array([False, True, True, False])
    assert compare("l1", plan, {"step"}, right).ok
    assert compare("l1", plan, {"step"}, np.array([False, True, True, True])).missed == (12,)
    assert compare("l1", plan, {"step"}, np.array([False, True, False, False])).unused == (8,)
    assert not compare("l1", plan, {"infer"}, right).ok


def test_cycles_are_counted_and_repeatable() -> None:
    build = compiled("fp16")
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8))
    first, second = build.load(), build.load()
    assert isinstance(first, DeviceNet) and isinstance(second, DeviceNet)
    assert first.train_step(x, 1) == second.train_step(x, 1)
    assert first.cycles == second.cycles > 0


def test_no_operator_beats_its_roof(tmp_path: Path) -> None:
    """The table, the figures and the picture of a roofline: every node takes at least what its bound says."""
    figures, picture = tmp_path / "figures.json", tmp_path / "roof.png"
    project = str(compiled("fp16").save(tmp_path / "net"))
    with pytest.raises(SystemExit) as exit_code:
        main(["bench", project, "--json", str(figures), "--plot", str(picture)])
    assert exit_code.value.code == 0
    operators = [item for item in json.loads(figures.read_text())[0]["operators"] if item["bound"]]
    assert {item["bound"] for item in operators} <= {"FPU", "load/store", "DMA"}
    for item in operators:
        assert 0 < item["fraction"] <= 1 and item["fraction"] * item["cycles"] == pytest.approx(
            max(item["bound_cycles"].values())
        )
        assert item["bound_cycles"]["fpu"] == -(-item["macs"] // 16)
    assert any(item["bound"] == "DMA" for item in operators)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_call_that_takes_too_long_is_one_clear_error(tmp_path) -> None:
    directory = compiled("fp16").save(tmp_path / "net")
    net = DeviceNet(directory)
    net.session.max_cycles = 1000
    with pytest.raises(CheckFailedError, match=r"cycle limit.*core \d+ at pc"):
        net.train_step(np.zeros((1, 3, 8, 8)), 1)


def test_a_host_project_has_no_device(tmp_path) -> None:
    directory = odl.compile(Small(), torch.zeros(1, 3, 8, 8)).save(tmp_path / "net")
    with pytest.raises(InputError, match="compiled for 'host'; compile it with target=\"cv32e40p\""):
        DeviceNet(directory)


def test_the_command_line_traces_an_operator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The window that odl bench names shows the cores in the kernel of that operator."""
    project = str(compiled("fp16").save(tmp_path / "net"))
    figures, trace = tmp_path / "figures.json", tmp_path / "trace.vcd"
    with pytest.raises(SystemExit) as exit_code:
        main(["bench", project, "--summary", "--json", str(figures)])
    assert exit_code.value.code == 0
    operators = json.loads(figures.read_text())[0]["operators"]
    assert all(a["begin"] + a["cycles"] == b["begin"] for a, b in pairwise(operators))
    first = operators[2]["begin"]
    window = ["--trace-cycles", f"{first}:{first + 50}"]
    with pytest.raises(SystemExit) as exit_code:
        main(["run", project, "--trace", str(trace), "--trace-core", "1", *window])
    assert exit_code.value.code == 0
    times = [int(line[1:]) for line in trace.read_text().splitlines() if line.startswith("#")]
    assert times == list(range(first, first + 52))
    for wrong, message in (
        (["--trace-cycles", "5"], "must be FIRST:LAST"),
        (["--trace-cycles", "5:4"], "cycles 5 to 4"),
        (["--trace-core", "8"], "cores 0 to 7"),
        (["--build", "exact"], "only target cv32e40p writes a trace"),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_code:
            main(["run", project, "--trace", str(tmp_path / "none.vcd"), *wrong])
        assert exit_code.value.code == InputError.exit_code
        assert message in capsys.readouterr().err
    assert not (tmp_path / "none.vcd").exists()
    with pytest.raises(SystemExit) as exit_code:
        main(["run", project, "--trace-core", "0"])
    assert exit_code.value.code == InputError.exit_code
    assert "--trace-core 0 goes with --trace FILE" in capsys.readouterr().err
