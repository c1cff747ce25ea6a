"""Writing a project: what is replaced, what is refused, and that nothing of the user's is ever lost."""

import json
import os
import re
from pathlib import Path

import pytest

import odl
from odl.codegen.names import comment_text, float_literal, identifier, unique_identifiers
from odl.codegen.project import render_project, write_project
from odl.errors import InputError
from odl.project import directory
from odl.project.manifest import read_document, read_manifest
from tests.networks import INPUT, tiny, tiny_build


@pytest.fixture(scope="module")
def network():
    return tiny_build(dtype="mixed", bn="train").compiled.network


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


# ----------------------------------------------------------------------------------------------------- writing
@pytest.mark.parametrize("place", ["new", "deep/er/new", "empty"])
def test_new_directories(network, tmp_path, place):
    (tmp_path / "empty").mkdir()
    write_project(network, tmp_path / place)
    wanted = {path: text.encode() for path, text in render_project(network).items()}
    assert contents(tmp_path / place) == wanted
    assert not list(tmp_path.rglob(".odl-*"))


def test_an_earlier_project_is_replaced_whole(network, tmp_path):
    write_project(network, tmp_path / "net")
    (tmp_path / "net" / "net.c").write_text("edited")
    (tmp_path / "net" / "net_exact.so").write_bytes(b"built")
    manifest = json.loads((tmp_path / "net" / "manifest.json").read_text())
    manifest["files"].append("kernels/odl_old.c")
    del manifest["counters"]  # an earlier release's
    (tmp_path / "net" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "net" / "kernels" / "odl_old.c").write_text("old")
    write_project(network, tmp_path / "net")
    assert contents(tmp_path / "net") == {
        path: text.encode() for path, text in render_project(network).items()
    }


def test_a_link_to_a_directory_stays_a_link(network, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_project(network, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "net.c").is_file()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("thesis.tex", "years of work"),
        ("manifest.json", '{"name": "a browser extension", "files": []}'),
        ("manifest.json", '{"odl": 1'),
        ("manifest.json", "[]"),
    ],
)
def test_a_foreign_directory_is_left_alone(network, tmp_path, file, text):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / file).write_text(text)
    with pytest.raises(InputError, match="mine exists and is not an odl project; choose another"):
        write_project(network, tmp_path / "mine")
    assert contents(tmp_path / "mine") == {file: text.encode()}


def test_a_users_file_in_a_project_is_not_lost(network, tmp_path):
    write_project(network, tmp_path / "net")
    (tmp_path / "net" / "my_main.c").write_text("int main(void) {}")
    before = contents(tmp_path / "net")
    with pytest.raises(InputError, match=r"'my_main\.c'.*move it"):
        write_project(network, tmp_path / "net")
    assert contents(tmp_path / "net") == before


def test_a_file_and_the_current_directory_are_refused(network, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("text")
    with pytest.raises(InputError, match="is a file"):
        write_project(network, tmp_path / "file")
    with pytest.raises(InputError, match="cannot write the project"):
        write_project(network, tmp_path / "file" / "below")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="current directory"):
        write_project(network, Path())
    assert contents(tmp_path) == {"file": b"text"}


@pytest.mark.parametrize("failing", ["write_text", "replace"])
def test_failure_midway_leaves_the_earlier_project(network, tmp_path, monkeypatch, failing):
    write_project(network, tmp_path / "net")
    before = contents(tmp_path / "net")
    calls = []

    def broken(*arguments, **options):
        calls.append(arguments)
        if len(calls) == (5 if failing == "write_text" else 2):
            raise OSError(28, "No space left on device")
        return original(*arguments, **options)

    owner = Path if failing == "write_text" else os
    original = getattr(owner, failing)
    monkeypatch.setattr(owner, failing, broken)
    with pytest.raises(InputError, match=r"cannot write the project to .*: No space left"):
        write_project(network, tmp_path / "net")
    monkeypatch.undo()
    assert contents(tmp_path / "net") == before
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_an_unwritable_parent_is_one_clear_error(network, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    # The tests may run as root, whom permissions do not stop.
    monkeypatch.setattr(directory.tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(InputError, match="net: Permission denied"):
        write_project(network, tmp_path / "net")


def test_a_memory_that_is_too_small_names_tensors_and_bytes(tmp_path):
    import torch

    with pytest.raises(InputError) as caught:
        odl.compile(tiny(), torch.zeros(1, *INPUT), memory=2000)
    message = str(caught.value)
    assert "\n" not in message
    assert "memory 'ram' of 2,000 bytes" in message and "too small" in message and "'4.weight'" in message
    needed = int(re.search(r"([\d,]+) are needed", message)[1].replace(",", ""))
    assert f"{needed - 2000:,} bytes too small" in message
    build = odl.compile(tiny(), torch.zeros(1, *INPUT), memory=needed)
    assert build.memory["ram"]["peak_bytes"] <= needed


# ------------------------------------------------------------------------------------------- reading a manifest
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "not an odl project"),
        ("", "cannot be read"),
        ('{"odl": 1, "mo', "cannot be read"),
        ("[1, 2]", "was not written by odl"),
        ('{"name": "extension"}', "was not written by odl"),
        ('{"odl": 2, "files": []}', "another release"),
        ('{"odl": 1, "files": []}', "another release"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_damaged_manifest_is_one_clear_error(tmp_path, text, message):
    if text is not None:
        (tmp_path / "manifest.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value) and "odl compile" in str(caught.value)
    with pytest.raises(InputError, match="no such directory"):
        read_manifest(tmp_path / "absent")


def test_manifest_describes_the_plan(network, tmp_path):
    write_project(network, tmp_path / "net")
    manifest = read_document(tmp_path / "net")
    plan = network.schedule.memory
    memory = manifest["memory"]["ram"]
    assert memory["peak_bytes"] == plan.peak_bytes == sum(memory["by_purpose"].values())
    assert set(manifest["files"]) | {"manifest.json"} == set(contents(tmp_path / "net"))
    state = tiny().state_dict()
    held = {entry["name"]: tuple(entry["shape"]) for entry in manifest["tensors"]}
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            assert {"name": name, "value": 0} in manifest["counters"]
        else:
            assert held[name] == tuple(tensor.shape)
    assert manifest["macs"] == {"forward": 2160 + 240, "step": 2 * 2160 + 3 * 240}
    assert json.loads(json.dumps(read_manifest(tmp_path / "net").document())) == manifest


# ------------------------------------------------------------------------------------------------------- names
def test_identifiers_never_clash_with_generated_code():
    for name in (
        "state",
        "core",
        "for",
        "NULL",
        "odl_add",
        "net_init",
        "run_step",
        "flat_shape_1",
        "NET_BATCH",
    ):
        assert identifier(name, "net") == f"{name}_"
    assert identifier("0.weight", "net") == "n0_weight"
    assert identifier("layers.conv-1", "net") == "layers_conv_1"
    assert identifier("", "net") == "n"
    found = unique_identifiers(["a.b", "a_b", "a-b", "a_b_2"], "net")
    assert len(set(found.values())) == 4 and found["a.b"] == "a_b"


def test_literals_read_back_exactly():
    import numpy as np

    random = np.random.default_rng(0)
    values = np.concatenate(
        [random.standard_normal(200) * 10.0 ** random.integers(-30, 30, 200), [0.0, -0.0, 1.0, 1e-8, 65536.0]]
    ).astype(np.float32)
    for value in values:
        text = float_literal(float(value))
        assert text.endswith("f") and ("." in text or "e" in text)
        assert np.float32(text[:-1]) == value
        assert np.signbit(np.float32(text[:-1])) == np.signbit(value)
    assert (float_literal(float("inf")), float_literal(float("-inf"))) == ("INFINITY", "-INFINITY")


def test_names_cannot_leave_their_comments():
    assert comment_text("a */ int x; /* b\nc") == "a * / int x; / * b c"
