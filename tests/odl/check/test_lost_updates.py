"""Training that is lost without a wrong bit: gradients that are all zero, too small for fp16, or updates that are."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import odl
from odl.cli.app import main
from odl.errors import CompileWarning, in_python
from odl.estimate import GradientEstimate, estimate_gradients
from odl.options import Options


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def deep(layers: int) -> tuple[nn.Module, torch.Tensor]:
    """Convolutions without normalisation, as PyTorch initialises them: each makes gradients about half as large."""
    torch.manual_seed(0)
    parts: list[nn.Module] = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()]
    for _ in range(layers):
        parts += [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)), torch.zeros(
        1, 3, 12, 12
    )


def failed(report) -> set[tuple[str, str]]:
    return {row.key for row in report.rows if not row.ok}


def test_gradients_that_are_all_zero_fail_by_name() -> None:
    model = small()
    model[2].requires_grad_(False)
    living = odl.compile(model, torch.zeros(1, 8), dtype="fp32").verify(steps=1)
    assert living.ok
    with torch.no_grad():
        model[0].bias.fill_(-1000.0)
    assert ("every gradient", "all zero") in failed(
        odl.compile(model, torch.zeros(1, 8), dtype="fp32").verify(steps=1)
    )


def test_the_loss_scale_starts_where_a_deep_networks_gradients_fit() -> None:
    build = odl.compile(*deep(12))
    assert build.compiled.network.options.loss_scale == 16384.0
    assert build.verify(steps=1).ok
    with pytest.warns(CompileWarning, match="at loss scale 1 "):
        low = odl.compile(*deep(12), loss_scale=1.0).verify(steps=1)
    assert not low.ok
    assert "of 0.weight's gradient" in low.notes[0]
    assert 'a larger loss_scale, normalisation, pretrained weights or dtype="fp32"' in in_python(low.notes[0])
    shares = {row.tensor: row.underflow for row in low.rows if row.kind == "gradient"}
    assert shares["0.weight"] > 0.9
    assert shares["0.bias"] is None  # stored in fp32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert odl.compile(*deep(12), dtype="fp32").verify(steps=1).ok


def test_a_network_too_deep_for_fp16_is_warned_of() -> None:
    with pytest.warns(
        CompileWarning,
        match=r"gradient of '0.weight' and \d more is below fp16's normal range .*dtype=\"fp32\"",
    ):
        odl.compile(*deep(18))


@pytest.mark.parametrize(
    ("optimizer", "share"),
    [(odl.SGD(1e-4), "8[0-9]"), (odl.Adam(1e-5), "8[0-9]")],
    ids=lambda item: str(item)[:9],
)
def test_updates_that_fp16_rounds_away_are_warned_of(optimizer: odl.SGD, share: str) -> None:
    with pytest.warns(CompileWarning, match=f"round {share}% of an update away at learning rate .*mixed"):
        odl.compile(small(), torch.zeros(1, 8), dtype="fp16", optimizer=optimizer)


@pytest.mark.parametrize("dtype", ["fp16", "mixed"])
@pytest.mark.parametrize(
    ("optimizer", "moves"), [(odl.SGD(1e-2), True), (odl.Adam(1e-3), True), (odl.Adam(1e-5), False)]
)
@pytest.mark.filterwarnings("ignore::odl.errors.CompileWarning")
def test_verify_sees_weights_that_do_not_move(optimizer: odl.SGD, moves: bool, dtype: str) -> None:
    report = odl.compile(small(), torch.zeros(1, 8), dtype=dtype, optimizer=optimizer).verify(steps=1)
    lost = dtype == "fp16" and not moves
    both = {("every weight", "movement"), ("every weight", "direction")}
    assert failed(report) == (both if lost else set())
    assert any("0.weight went 0." in note for note in report.notes) == lost
    assert {row.kind for row in report.rows} >= {"movement", "direction"} or dtype != "fp16"


@pytest.mark.filterwarnings("ignore::odl.errors.CompileWarning")
def test_verify_sees_weights_that_move_far_enough_and_somewhere_else() -> None:
    report = odl.compile(small(), torch.zeros(1, 8), dtype="fp16", optimizer=odl.SGD(1e-4)).verify(steps=1)
    assert failed(report) == {("every weight", "direction")}
    assert any("of float64's way from where it takes them: fp16 rounds" in note for note in report.notes)


def test_loss_scale_of_an_estimate() -> None:
    def scale(largest: float, *typical: float) -> float:
        return GradientEstimate(largest, dict(enumerate(typical)), 0.0).loss_scale(1024.0)

    assert scale(1.0, 1e-3, 1e-5) == 1024.0
    assert scale(1000.0, 1.0) == 64.0
    assert scale(1e-3, 1e-7) == 16384.0
    assert scale(1.0, 1e-9) == 8192.0  # what is largest keeps room to grow
    assert scale(1e-3, 1e-9) == 65536.0
    assert scale(1.0, 1e-14) == 1024.0  # the noise of a gradient that cancels
    assert scale(0.0) == 1024.0
    assert scale(math.inf) == 1.0


def test_an_estimate_changes_nothing_and_is_the_same_again() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True), nn.Linear(4, 3))
    before = {name: item.clone() for name, item in model.state_dict().items()}
    names = [name for name, _ in model.named_parameters()]
    one, other = (estimate_gradients(model, (5, 8), names, Options(dtype="fp16")) for _ in range(2))
    assert one == other
    assert one.typical.keys() == {"0.weight", "3.weight"}
    assert all(torch.equal(item, before[name]) for name, item in model.state_dict().items())


def test_the_command_line_prints_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n\ndef make():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), torch.zeros(1, 8)\n"
    )
    command = ["compile", f"{tmp_path}/net.py:make", "--dtype", "fp16", "--optimizer", "adam", "--lr", "1e-5"]
    with pytest.raises(SystemExit) as done:
        main([*command, "-o", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert done.value.code == 0
    assert "warning: fp16 weights round 8" in said.out
    assert "use --dtype mixed" in said.out
    assert said.err == ""
    with pytest.raises(SystemExit) as done:
        main(["verify", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert done.value.code == 1
    assert "0.weight went 0." in said.out
    assert "--dtype mixed keeps fp32 weights" in said.out
    assert "subnormal" in said.out
