"""The command line as a user meets it: exit codes, one-line errors, and the way from a model to a verified project."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import odl

pytestmark = pytest.mark.usefixtures("private_cache")

NETWORKS = Path(__file__).resolve().parents[2] / "networks.py"
MODEL = f"{NETWORKS}:factory"
COMMANDS = ("models", "compile", "run", "verify", "doctor")


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80", **environment},
        check=False,
    )


# -------------------------------------------------------------------------------------------------- starting up
def test_help_version_and_doctor_do_not_wait_for_pytorch():
    for arguments in (["--help"], ["compile", "--help"], ["--version"], ["doctor"], ["frobnicate"]):
        script = (
            "import sys\nimport odl.cli\n"
            f"try:\n    odl.cli.main({arguments!r})\nexcept SystemExit:\n    pass\n"
            "sys.exit('torch' in sys.modules)"
        )
        assert python("-c", script).returncode == 0, arguments


def test_the_lazy_names_are_there():
    for name in odl.__all__:
        assert getattr(odl, name) is not None
    assert callable(odl.compile) and odl.compile.__module__ == "odl.build"
    with pytest.raises(AttributeError, match="'odl' has no attribute 'trian'"):
        odl.trian  # noqa: B018


def test_the_module_runs_as_a_program():
    done = python("-c", "from odl.cli import main; main()", "x")
    assert done.returncode == 2 and done.stdout == ""


def test_help_of_everything(cli):
    page = cli("--help")
    assert page.code == 0 and not page.err
    assert all(f" {command} " in page.out for command in COMMANDS)
    for command in COMMANDS:
        page = cli(command, "--help")
        assert page.code == 0 and not page.err and f"odl {command}" in page.out
        assert all(len(line) <= 80 for line in page.out.splitlines())
        for option in re.findall(r"--[a-z0-9-]+", page.out):
            assert len(option) > 3
    assert cli("--version").out == f"odl {odl.__version__}\n"
    assert "Usage: odl" in cli().out


def test_models_fits_a_terminal(cli):
    result = cli("models")
    assert result.code == 0 and not result.err
    for text in (
        "resnet8",
        "dscnn",
        "autoencoder",
        "mobilenetv1",
        "12,501,632",
        "37,062,528",
        "cross_entropy",
        "3x96x96",
    ):
        assert text in result.out
    assert "…" not in result.out and all(len(line) <= 80 for line in result.out.splitlines())


def test_doctor(cli, monkeypatch, tmp_path):
    result = cli("doctor")
    assert result.code == 0 and not result.err
    host = [line for line in result.out.splitlines() if "target host" in line]
    assert "gcc" in result.out and host and not any("missing" in line for line in host)
    (tmp_path / "gcc").write_text("#!/bin/sh\necho gcc 4.8.5\n")
    (tmp_path / "gcc").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = cli("doctor")
    assert result.code == 0 and "4.8.5" in result.out and "missing" in result.out
    assert "apt-get" in result.out


# ------------------------------------------------------------------------------------------ compile, run, verify
def test_compile_says_what_it_takes(cli, tmp_path):
    result = cli("compile", MODEL, "-o", tmp_path / "net", "--dtype", "fp32", "--dump", tmp_path / "dump")
    assert result.code == 0 and not result.err
    manifest = json.loads((tmp_path / "net" / "manifest.json").read_text())
    assert f"{manifest['memory']['ram']['peak_bytes']:,}" in result.out
    assert f"{manifest['macs']['step']:,}" in result.out and "next: odl run" in result.out
    assert manifest["spec"] == MODEL and manifest["options"]["dtype"] == "fp32"
    stages = sorted(path.name for path in (tmp_path / "dump").iterdir())
    assert stages == ["1-traced.txt", "2-fused.txt", "3-training.txt", "4-plan.txt"]
    assert "graph step" in (tmp_path / "dump" / "1-traced.txt").read_text()


def test_run_prints_a_falling_loss(cli, copied):
    result = cli("run", copied, "--steps", "60", "--build", "exact", "--lr", "0.05")
    assert result.code == 0 and not result.err
    losses = [float(text) for text in re.findall(r"loss (\S+)", result.out)]
    assert len(losses) == 10 and losses[-1] < losses[0]
    assert cli("run", copied, "--steps", "60", "--build", "exact", "--lr", "0.05").out == result.out


def test_run_on_images(cli, tmp_path):
    model = tmp_path / "small.py"
    model.write_text(
        "import torch\nfrom torch import nn\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(196, 10))\n"
    )
    directory = tmp_path / "net"
    arguments = ("compile", f"{model}:make", "-o", directory, "--input-shape", "3x32x32", "--dtype", "fp32")
    assert cli(*arguments).code == 0
    result = cli("run", directory, "--data", "digits", "--steps", "300", "--build", "exact")
    assert result.code == 0 and not result.err
    losses = [float(text) for text in re.findall(r"loss (\S+)", result.out)]
    assert losses[-1] < losses[0] - 0.3


def test_verify_holds_and_writes_json(cli, copied, tmp_path):
    result = cli("verify", copied, "--json", tmp_path / "rows.json")
    assert result.code == 0 and not result.err and "hold; worst:" in result.out
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {"tensor", "kind", "rel_l2", "bound", "bit_exact", "ok", "underflow"} == set(rows[0])
    assert all(row["ok"] for row in rows)
    assert {"loss", "gradient", "weight", "statistic", "inference"} <= {row["kind"] for row in rows}
    assert {"0.weight", "1.weight", "4.bias"} <= {row["tensor"] for row in rows if row["kind"] == "gradient"}
    printed = cli("verify", copied, "--json", "-", "--steps", "1")
    assert printed.code == 0 and all(row["ok"] for row in json.loads(printed.out))


@pytest.mark.parametrize(
    ("kernel", "right", "wrong"),
    [
        ("net_channel_sum_*", "dy + c, s->pixels", "dy, s->pixels"),
        ("net_relu_gradient_*", "odl_limits(low, high)", "odl_limits(low - 1.0f, high)"),
        ("net_sgd_c_f16_g_f16_*", "-learning_rate", "learning_rate"),
    ],
)
def test_verify_fails_on_a_sabotaged_kernel(cli, copied, tmp_path, kernel, right, wrong):
    (file,) = (copied / "kernels").glob(f"{kernel}.c")
    text = file.read_text()
    assert right in text
    file.write_text(text.replace(right, wrong))
    result = cli("verify", copied, "--steps", "2", "--json", tmp_path / "rows.json")
    assert result.code == 1 and "FAILED" in result.out and "Traceback" not in result.err
    assert not all(row["ok"] for row in json.loads((tmp_path / "rows.json").read_text()))


# ------------------------------------------------------------------------------------------- the input's fault
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("frobnicate",), "No such command 'frobnicate'; see odl --help"),
        (("compile",), "see odl compile --help"),
        (("compile", "resnet8"), "Missing option '-o'"),
        (("compile", "resnet8", "-o", "x", "--bacth", "4"), "No such option: --bacth (Possible options: --batch)"),
        (("compile", "resnet8", "-o", "x", "--batch", "0"), "--batch"),
        (("compile", "resnet8", "-o", "x", "--batch", "two"), "--batch"),
        (("compile", "resnet18", "-o", "x"), "no model named 'resnet18' in the zoo; there are: resnet8, dscnn"),
        (("compile", "model.py", "-o", "x"), "name the function that makes the model, as in model.py:make_model"),
        (("compile", "absent.py:make", "-o", "x"), "absent.py: no such file"),
        (("compile", f"{NETWORKS}:nothing", "-o", "x"), "has no function 'nothing'"),
        (("compile", "net.onnx", "-o", "x"), "ONNX is not supported yet"),
        (("compile", MODEL, "-o", "x", "--dtype", "float16"), "--dtype float16: must be one of fp32, fp16, mixed"),
        (("compile", MODEL, "-o", "x", "--bn", "none"), "--bn none: must be one of fold, frozen, train"),
        (("compile", MODEL, "-o", "x", "--target", "esp32"), "--target esp32: must be one of host"),
        (("compile", MODEL, "-o", "x", "--optimizer", "sdg"), "--optimizer sdg: must be one of sgd, momentum, adam"),
        (("compile", MODEL, "-o", "x", "--loss", "bce"), "--loss bce: must be one of cross_entropy, mse"),
        (("compile", MODEL, "-o", "x", "--update", "last:0"), "--update"),
        (("compile", MODEL, "-o", "x", "--update", "head.*"), "--update: 'head.*' matches no parameter"),
        (("compile", MODEL, "-o", "x", "--lr", "0"), "--lr 0.0: the learning rate must be positive"),
        (("compile", MODEL, "-o", "x", "--lr", "nan"), "--lr nan"),
        (("compile", MODEL, "-o", "x", "--cores", "0"), "--cores 0: must be between 1 and 16"),
        (("compile", MODEL, "-o", "x", "--loss-scale", "0.5"), "--loss-scale 0.5: must be between"),
        (("compile", MODEL, "-o", "x", "--memory", "lots"), "'lots' is not a size; write for example"),
        (("compile", MODEL, "-o", "x", "--memory", "1K"), "memory 'ram' of 1,024 bytes is"),
        (("compile", MODEL, "-o", "x", "--input-shape", "3by5"), "'3by5' is not a shape; write for example 3x32x32"),
        (("compile", MODEL, "-o", "x", "--weights", "absent.pt"), "--weights absent.pt: no such file"),
        (("compile", MODEL, "-o", "x", "--weights", str(NETWORKS)), "not a state_dict that torch.save wrote"),
        (("compile", MODEL, "-o", str(NETWORKS)), "is a file; choose another directory with -o"),
        (("compile", MODEL, "-o", str(NETWORKS.parent)), "exists and is not an odl project; choose another"),
        (("compile", MODEL, "-o", str(NETWORKS / "below")), "cannot write the project"),
        (("run", "absent"), "absent: no such directory; make one with odl compile -o absent"),
        (("run", str(NETWORKS.parent)), "is not an odl project (no manifest.json)"),
        (("verify", str(NETWORKS.parent)), "is not an odl project (no manifest.json)"),
        (("verify", "absent"), "absent: no such directory"),
        (("run", "absent", "--steps", "0"), "--steps"),
        (("run", "absent", "--build", "debug"), "--build debug: must be one of exact, fast, device"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(cli, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in cli(*arguments).error(2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def make():\n    return 3", "returned a int; it must return an nn.Module"),
        ("def make():\n    return nn.Linear(2, 2)", "return (module, example_input) or give --input-shape"),
        ("def make():\n    raise RuntimeError('no weights\\nat all')", "make failed: RuntimeError: no weights"),
        ("import nothing_of_the_kind", "ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        ("def make(:", "SyntaxError"),
        ("def make():\n    return nn.Linear(2, 2), torch.zeros(1, 3)", "shape"),
        ("def make():\n    return nn.LSTM(2, 2), torch.zeros(1, 3, 2)", "returns a tuple"),
        ("def make():\n    return nn.Conv2d(4, 4, 3, groups=2), torch.zeros(1, 4, 8, 8)", "group"),
        ("m = nn.Linear(2, 2)\nm.bias.data[0] = torch.nan\ndef make():\n    return m, torch.ones(1, 2)", "holds NaN"),
    ],
)  # fmt: skip
def test_models_that_cannot_be_made(cli, tmp_path, body, message):
    (tmp_path / "model.py").write_text(f"import torch\nfrom torch import nn\n{body}\n")
    result = cli("compile", f"{tmp_path / 'model.py'}:make", "-o", tmp_path / "net")
    assert message.lower() in result.error(2).lower()
    assert not (tmp_path / "net").exists()


def test_a_damaged_project(cli, copied):
    manifest = copied / "manifest.json"
    text = manifest.read_text()
    for damaged, message in (
        (text[: len(text) // 2], "cannot be read"),
        ('{"name": "something else"}', "was not written by odl"),
        (text.replace('"odl": 2', '"odl": 99'), "another release of odl; compile it again"),
    ):
        manifest.write_text(damaged)
        for command in ("run", "verify"):
            assert message in cli(command, copied).error(2)


def test_data_that_does_not_fit(cli, copied):
    assert "(3, 32, 32), the network takes (3, 5, 4)" in cli("run", copied, "--data", "digits").error(2)
    assert "no data set named 'mnist'; there are: digits" in cli("run", copied, "--data", "mnist").error(2)
    assert "learning rate -1.0" in cli("run", copied, "--lr", "-1").error(2)


def test_a_json_file_that_cannot_be_written(cli, copied):
    place = copied / "absent" / "rows.json"
    assert "rows.json: there is no directory" in cli("verify", copied, "--steps", "1", "--json", place).error(
        2
    )
    place.parent.mkdir()
    place.mkdir()
    assert "rows.json: Is a directory" in cli("verify", copied, "--steps", "1", "--json", place).error(2)


def test_a_model_that_has_moved_is_asked_for(cli, copied):
    manifest = copied / "manifest.json"
    manifest.write_text(manifest.read_text().replace(MODEL, "elsewhere.py:factory"))
    assert "elsewhere.py: no such file" in cli("verify", copied, "--steps", "1").error(2)
    assert cli("verify", copied, "--steps", "1", "--model", MODEL).code == 0
    text = re.sub(r'"spec": "[^"]*"', '"spec": null', manifest.read_text())
    manifest.write_text(text)
    assert "--model file.py:factory" in cli("verify", copied).error(2)


# ---------------------------------------------------------------------------------------------- a missing tool
def test_a_missing_or_old_compiler_is_named(cli, copied, tmp_path, monkeypatch):
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    for command in ("run", "verify"):
        line = cli(command, copied).error(3)
        assert "gcc is missing, >= 12 is needed; install it with: apt-get install gcc" in line
    (empty / "gcc").write_text("#!/bin/sh\necho gcc 9.4.0\n")
    (empty / "gcc").chmod(stat.S_IRWXU)
    assert "gcc is too old (9.4.0), >= 12 is needed" in cli("run", copied).error(3)
    (empty / "gcc").write_text("#!/bin/sh\necho gcc 13.1.0\n")
    assert "make is missing" in cli("run", copied).error(3)


def test_a_compiler_that_fails_is_told_with_its_reason(cli, copied):
    (file,) = (copied / "kernels").glob("net_channel_sum_*.c")
    file.write_text(f"#error out of order\n{file.read_text()}")
    assert "#error out of order" in cli("run", copied).error(1)


def test_a_reader_that_goes_away_is_no_error_message():
    script = f"{sys.executable} -c 'from odl.cli import main; main([\"--help\"])' | true"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr and not done.stderr.strip()
