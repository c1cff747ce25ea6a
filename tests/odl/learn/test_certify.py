"""`odl learn certify`: what a device must have when it has forgotten, from what it saved."""

from __future__ import annotations

from pathlib import Path

import pytest

import odl
from odl.cli import main
from tests.networks import samples, tiny_build, written

X, Y = samples(6)


@pytest.fixture(name="device")
def _device(tmp_path: Path) -> tuple[odl.Net, Path]:
    """A device that learned six samples, and its storage beside its project."""
    build = tiny_build(dtype="mixed", learn=odl.Log(samples=8, states=2))
    net, project = build.load(), written(build, tmp_path / "net")
    for index in range(6):
        net.learn(X[index], Y[index], id=index + 10)
    dump = tmp_path / "dump.bin"
    dump.write_bytes((b"\xff" * 4096) + net.save())
    (project / "state.bin").write_bytes(net.save())
    return net, project


def certify(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capfd.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(["learn", "certify", *map(str, arguments)])
    assert isinstance(caught.value.code, int)
    return caught.value.code, *capfd.readouterr()


def test_a_claim_is_right_or_wrong(device: tuple[odl.Net, Path], capfd: pytest.CaptureFixture[str]) -> None:
    net, project = device
    before = net.digest().hex()
    net.forget([11, 14])
    claim = net.digest().hex()
    code, out, err = certify(capfd, project / "state.bin", "--without", "14,11", "--digest", claim)
    assert code == 0 and not err
    assert f"as saved: {before}" in out and f"without 14, 11: {claim} (after 4 steps)" in out
    code, out, _ = certify(capfd, project.parent / "dump.bin", "--without", "11,14", "--project", project)
    assert code == 0 and claim in out
    code, _, err = certify(capfd, project / "state.bin", "--without", "11", "--digest", claim)
    assert code == 1 and "another state" in err


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("99", "a sample is not in the log"),
        ("11,x", "--without 11,x: must be whole numbers with commas between"),
        ("-1", "must be a whole number from 0"),
    ],
)
def test_bad_ids_are_one_line(
    device: tuple[odl.Net, Path], capfd: pytest.CaptureFixture[str], without: str, words: str
) -> None:
    code, out, err = certify(capfd, device[1] / "state.bin", f"--without={without}")
    assert code == 2 and words in err and not out and len(err.strip().splitlines()) == 1


def test_what_is_no_log_is_one_line(
    device: tuple[odl.Net, Path], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    project = device[1]
    for file, words in (
        (project / "nothing.bin", "No such file"),
        (project / "net.c", "no saved state"),
        (tmp_path / "dump.bin", "is not an odl project"),
    ):
        code, _, err = certify(capfd, file, "--without", "11")
        assert code == 2 and words in err and len(err.strip().splitlines()) == 1, err
    plain = tiny_build(dtype="mixed")
    other = written(plain, tmp_path / "plain")
    (other / "state.bin").write_bytes(plain.load().save())
    code, _, err = certify(capfd, other / "state.bin", "--without", "11")
    assert code == 2 and "needs a network compiled with --learn log" in err
