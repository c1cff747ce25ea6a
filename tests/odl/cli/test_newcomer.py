"""What a careless newcomer does: each mistake is one line with what to do, the right exit code, and nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from odl.cli.doctor import _verdict
from odl.targets.common.requirements import Finding

pytestmark = pytest.mark.usefixtures("private_cache")

HEADER = "import torch\nfrom torch import nn\n"
#: Always the same weights: with others an output may be positive whatever a test puts in.
SMALL = f"{HEADER}def make():\n    torch.manual_seed(0)\n    return nn.Linear(4, 2), torch.zeros(1, 4)\n"


@pytest.fixture
def small(cli, tmp_path, monkeypatch) -> Path:
    """A folder with model.py and the project net that was compiled from it there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(SMALL)
    assert cli("compile", "model.py:make", "-o", "net", "--dtype", "fp32", "--prefix", "net").code == 0
    return tmp_path


def contents(directory: Path) -> dict[str, bytes]:
    """Every file but what Python keeps for itself."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.suffix != ".pyc")
    return {str(path): path.read_bytes() for path in files}


# ------------------------------------------------------------------------------------------------- models
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def make():\n    raise ValueError('bad\\nworse')", "make failed: ValueError: bad (line 4 of model.py)"),
        ("def make():\n    raise MemoryError", "make failed: MemoryError (line 4 of model.py)"),
        ("def make(n):\n    return n", "missing 1 required positional argument: 'n'"),
        ("def make():\n    return nn.Linear(4, 2), [1, 2]", "returned a module and a list; the example input must be"),
        ("def make():\n    return nn.Linear(4, 2), torch.zeros(1, 5)", "does not run on an input of shape (1, 5)"),
        ("def make():\n    return nn.Linear(4, 2).to('meta'), torch.zeros(1, 4)", "'weight' is on the meta device"),
        ("def make():\n    return nn.LazyLinear(2), torch.zeros(1, 4)", "'weight' belongs to a lazy layer"),
        ("def make():\n    return torch.jit.script(nn.Linear(4, 2)), torch.zeros(1, 4)", "is a ScriptModule"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_factories_that_are_wrong(cli, tmp_path, monkeypatch, body, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(f"{HEADER}{body}\n")
    assert message in cli("compile", "model.py:make", "-o", "net").error(2)
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("weights.pt",), "odl compile file.py:factory --weights weights.pt"),
        (("weights.pth",), "odl compile file.py:factory --weights weights.pth"),
        (("model:make",), "no model named 'model:make' in the zoo; there are: resnet8"),
        (("model:make",), "a model of your own is file.py:factory"),
        (("model.py:make", "--update", "nonsense*"), "--update: 'nonsense*' matches no parameter"),
        (("model.py:make", "--batch", "100000000000"), "(100000000000, 4) is too large for this machine"),
        (("model.py:make", "--input-shape", "99999999999x999999"), "is too large for this machine"),
        (("model.py:make", "--dump", "model.py"), "--dump model.py is a file; name a directory"),
        (("model.py:make", "--dump", "model.py/below"), "--dump model.py/below cannot be written: Not a dir"),
        (("model.py:make", "--dump", "net/text"), "--dump net/text is inside the project net; name another"),
        (("model.py:make", "--dump", "net"), "--dump net is inside the project net; name another"),
    ],
)
def test_compiling_carelessly(cli, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(SMALL)
    torch.save({}, tmp_path / "weights.pt")
    before = contents(tmp_path)
    assert message in cli("compile", *arguments, "-o", "net").error(2)
    assert contents(tmp_path) == before and not (tmp_path / "net").exists()


def test_what_a_factory_prints_is_no_part_of_the_json(cli, small):
    (small / "model.py").write_text(SMALL.replace("def make():\n", "def make():\n    print('loading')\n"))
    result = cli("verify", "net", "--json", "-", "--steps", "1")
    assert result.code == 0 and result.err == "loading\n"
    assert all(row["ok"] for row in json.loads(result.out))


def test_unused_parameters_are_named(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(
        f"{HEADER}class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a, self.spare = nn.Linear(4, 2), nn.Linear(3, 3)\n"
        "    def forward(self, x):\n        return self.a(x)\n"
        "def make():\n    return Net(), torch.zeros(1, 4)\n"
    )
    result = cli("compile", "model.py:make", "-o", "net")
    assert result.code == 0 and "the model never uses spare.weight, spare.bias; left out" in result.out
    assert cli("verify", "net", "--steps", "1").code == 0
    assert "affects the loss" in cli("compile", "model.py:make", "-o", "b", "--update", "spare.*").error(2)


# ------------------------------------------------------------------------------------ projects, other folders
def test_projects_work_from_another_folder_once_the_model_is_named(cli, small, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    project = small / "net"
    assert cli("run", project, "--steps", "1").code == 0
    line = cli("verify", project, "--steps", "1").error(2)
    assert (
        line.startswith("model.py: no such file") and f"{project} was compiled from 'model.py:make'" in line
    )
    assert "--model file.py:factory" in line
    assert cli("verify", project, "--steps", "1", "--model", f"{small}/model.py:make").code == 0


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("nn.Linear(4, 3)", "its output has shape (1, 3), the project's (1, 2)"),
        ("nn.Linear(5, 2)", "does not run on an input of shape (1, 4)"),
        ("nn.Linear(4, 2, bias=False)", "it has no 'bias'"),
        ("nn.Sequential(nn.Linear(4, 2))", "it has no 'weight'"),
    ],
)
def test_another_model_of_the_same_name_is_told_apart(cli, small, layer, message):
    (small / "model.py").write_text(SMALL.replace("nn.Linear(4, 2)", layer))
    line = cli("verify", "net", "--steps", "1").error(2)
    assert "model.py:make is not the model that net was compiled from" in line and message in line


def test_another_model_with_the_same_tensors_fails_the_check(cli, small):
    (small / "model.py").write_text(
        f"{HEADER}class Other(nn.Linear):\n    def forward(self, x):\n        return super().forward(x).relu()\n"
        "def make():\n    return Other(4, 2), torch.zeros(1, 4)\n"
    )
    result = cli("verify", "net", "--steps", "1")
    assert result.code == 1 and "FAILED" in result.out


@pytest.mark.parametrize("lost", ["net.c", "net.h", "Makefile", "net_weights.c", "kernels", "runtime"])
def test_a_project_that_lost_a_file_says_which(cli, copied, lost):
    place = copied / lost
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    line = cli("run", copied).error(2)
    assert f"has lost '{lost}" in line and "compile it again with odl compile -o" in line


def test_a_source_or_library_that_was_cut_off(cli, copied):
    assert cli("run", copied, "--steps", "1").code == 0
    library = copied / "net_fast.so"
    library.write_bytes(library.read_bytes()[:100])
    line = cli("run", copied, "--steps", "1").error(2)
    assert f"{library}: cannot load library" in line and line.endswith("; delete it, and it is built again")
    library.unlink()
    assert cli("run", copied, "--steps", "1").code == 0
    (copied / "net.c").write_text("/* nothing */\nextern int net;\n")
    assert "is damaged; compile it again" in cli("run", copied, "--steps", "1").error(2)


@pytest.mark.parametrize("length", [0, 1, 100, 2000])
def test_a_manifest_that_was_cut_off(cli, copied, length):
    manifest = copied / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:length])
    before = contents(copied)
    for command in ("run", "verify"):
        assert "cannot be read" in cli(command, copied).error(2)
    assert contents(copied) == before


def test_a_place_for_json_that_is_not_there_is_told_before_the_work(cli, copied, tmp_path):
    place = tmp_path / "absent" / "rows.json"
    for command in ("verify", "bench"):
        line = cli(command, copied, "--json", place).error(2)
        assert line == f"--json {place}: there is no directory {place.parent}"


def test_running_carelessly(cli, copied):
    for option, value in (("--steps", "-1"), ("--seed", "-1"), ("--steps", "many")):
        assert option in cli("run", copied, option, value).error(2)
    assert "--seed" in cli("verify", copied, "--seed", "-1").error(2)


# ------------------------------------------------------------------------- places that cannot be written, Ctrl-C
class ReadOnly:
    """Makes every new file or directory below a folder fail, as a read-only disk does, also for root."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = str(folder)
        for name in ("open", "mkdir"):
            self._guard(name, getattr(os, name), monkeypatch)

    def _guard(self, name, original, monkeypatch):
        def guarded(path, *arguments, **options):
            writes = name == "mkdir" or (arguments and arguments[0] & (os.O_WRONLY | os.O_RDWR))
            if writes and os.path.abspath(os.fspath(path)).startswith(self._folder):
                raise OSError(30, "Read-only file system", str(path))
            return original(path, *arguments, **options)

        monkeypatch.setattr(os, name, guarded)


def test_a_read_only_folder(cli, small, monkeypatch):
    before = contents(small)
    ReadOnly(small, monkeypatch)
    assert "cannot write to net: Read-only file system" in cli("run", "net").error(2)
    line = cli("compile", "model.py:make", "-o", "net").error(2)
    assert line == "cannot write the project to net: Read-only file system"
    line = cli("compile", "model.py:make", "-o", "new/net").error(2)
    assert line == "cannot write the project to new/net: Read-only file system"
    assert contents(small) == before


@pytest.mark.parametrize("command", ["compile", "run", "verify"])
def test_an_interrupted_command_says_so_and_leaves_everything(cli, small, monkeypatch, command):
    before = contents(small)

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    if command == "compile":
        monkeypatch.setattr("odl.project.directory.os.replace", interrupted)
        arguments = ("compile", "model.py:make", "-o", "net", "--dtype", "fp16")
    else:
        monkeypatch.setattr("odl.run.net.Net.train_step", interrupted)
        arguments = (command, "net")
    assert cli(*arguments).error(130) == "interrupted"
    built = ("net_fast.so", ".net_fast.key", "net_exact.so", ".net_exact.key")
    after = contents(small)
    assert {path: text for path, text in after.items() if not path.endswith(built)} == before
    assert {path.name for path in small.iterdir()} - {"__pycache__"} == {"model.py", "net"}


def test_ctrl_c_of_a_running_program(copied):
    program = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from odl.cli import main; main()",
            "run",
            str(copied),
            "--steps",
            "1000000000",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (copied / ".net_fast.key").exists():
        assert program.poll() is None
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate()
    assert (program.returncode, err) == (130, "odl: interrupted\n"), out


# --------------------------------------------------------------------------------------------------- doctor
def test_doctor_gives_the_commands_to_copy(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    result = cli("doctor")
    assert result.code == 0
    assert (
        "target host: lacks gcc >= 12, make >= 4; to get it: apt-get install gcc libc6-dev make\n"
        in result.out
    )
    assert "keyword data: lacks espeak-ng >= 1.50; to get it: apt-get install espeak-ng\n" in result.out
    assert "clang" in result.out


def test_doctors_verdicts():
    def finding(tool, found, needed, remedy, ok=False):
        return Finding("target x", tool, found, needed, remedy, ok)

    ready = finding("a", "3.0", ">= 2", "apt-get install a", ok=True)
    assert _verdict([ready, ready]) == "target x: [green]ready[/]"
    old = finding("b", "1.0", ">= 2", "apt-get install b c")
    absent = finding("rtl", None, "any", "pip install 'odl[rtl]'")
    assert _verdict([ready, old, absent, finding("c", None, ">= 1", "apt-get install c")]) == (
        "target x: [red]lacks b >= 2 (found 1.0), rtl, c >= 1[/]; "
        "to get it: apt-get install b c && pip install 'odl\\[rtl]'"
    )
