"""The command line as a user meets it: runs a command, keeps what it printed; a tiny compiled project."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from odl.cli import main

MODEL = f"{Path(__file__).resolve().parents[1] / 'networks.py'}:factory"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    def error(self, code: int) -> str:
        """The single line of an expected failure."""
        assert self.code == code, (self.code, self.out, self.err)
        lines = self.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("odl: "), self.err
        assert "Traceback" not in self.err and "Usage:" not in self.err
        return lines[0].removeprefix("odl: ")


@pytest.fixture
def cli(capfd, monkeypatch):
    """Runs a command in this process (importing PyTorch once is enough)."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str | Path) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        assert isinstance(caught.value.code, int)
        return Result(caught.value.code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def project(tmp_path_factory, private_cache):
    """A compiled tiny project; copy it before changing it."""
    directory = tmp_path_factory.mktemp("cli") / "net"
    with pytest.raises(SystemExit) as caught:
        main(["compile", MODEL, "-o", str(directory), "--bn", "train", "--prefix", "net"])
    assert caught.value.code == 0
    return directory


@pytest.fixture
def copied(project, tmp_path):
    return Path(shutil.copytree(project, tmp_path / "net"))
