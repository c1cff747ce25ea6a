"""`odl state`: a device's saved state into PyTorch and back; what is damaged is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from odl.cli.app import main
from tests.networks import samples, tiny_build, written

BUILD = {"dtype": "mixed", "bn": "frozen"}


def odl(*arguments: object) -> int:
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as ended:
        main([str(item) for item in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_dump_becomes_weights_and_weights_a_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = tiny_build(**BUILD)
    net, project = build.load(), written(build, tmp_path / "net")
    net.train_step(*samples(1))
    dump = tmp_path / "dump.bin"
    dump.write_bytes((b"\xff" * 4096) + net.save().ljust(4096, b"\xff"))
    assert odl("state", "show", dump, project) == 0
    shown = capsys.readouterr().out
    assert (
        "at byte 4,096: generation 0" in shown and "4.weight: 3x80 float32" in shown and "steps: 1" in shown
    )
    assert odl("state", "show", dump) == 0
    weights = tmp_path / "weights.pt"
    assert odl("state", "pull", project, dump, "-o", weights) == 0
    pulled = torch.load(weights, weights_only=True)
    assert all(torch.equal(pulled[name], tensor) for name, tensor in net.state_dict().items())
    pushed = tmp_path / "pushed.bin"
    assert odl("state", "push", project, weights, "-o", pushed) == 0
    fresh = build.load()
    fresh.load(pushed.read_bytes())
    assert all(torch.equal(fresh.state_dict()[name], tensor) for name, tensor in net.state_dict().items())


def test_what_is_damaged_or_foreign_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = tiny_build(**BUILD)
    project, whole = written(build, tmp_path / "net"), build.load().save()
    foreign = tiny_build(**BUILD, loss="mse").load().save()
    flipped = bytearray(whole)
    flipped[300] ^= 4
    file, weights = tmp_path / "state.bin", tmp_path / "weights.pt"
    for data, reason in (
        (b"", "no saved state"),
        (whole[:-1], "truncated"),
        (bytes(flipped), "damaged: the checksum"),
        (foreign, "another loss"),
    ):
        file.write_bytes(data)
        commands = [("pull", project, file, "-o", weights)]
        commands += [("show", file)] if data != foreign else [("show", file, project)]
        for command in commands:
            assert odl("state", *command) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith(f"odl: {file}: ") and reason in line
    assert not weights.exists()
    weights.write_bytes(b"no archive")
    assert odl("state", "push", project, weights, "-o", file) == 2
    assert odl("state", "push", project, tmp_path / "missing.pt", "-o", file) == 2
    assert odl("state", "pull", project, tmp_path / "missing.bin", "-o", weights) == 2
    torch.save({"weight": torch.zeros(2)}, weights)
    capsys.readouterr()
    assert odl("state", "push", project, weights, "-o", file) == 2
    assert "does not fit" in capsys.readouterr().err
