"""Weights are loaded from files as they are found where their meaning is certain; else one line has a remedy that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from odl.checkpoints import load_weights
from odl.errors import InputError


def model(classes: int = 3) -> nn.Module:
    torch.manual_seed(classes)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, classes))


SAVED = model().state_dict()
COUNTERLESS = {name: item for name, item in SAVED.items() if not name.endswith("tracked")}


def named(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: item for name, item in SAVED.items()}


def file_of(folder: Path, content: Any) -> Path:
    torch.save(content, folder / "weights.pt")
    return folder / "weights.pt"


def loads(path: Path) -> str | None:
    other = model(3)
    for item in other.parameters():
        nn.init.zeros_(item)
    said = load_weights(other, path)
    assert all(torch.equal(item, SAVED[name]) for name, item in other.state_dict().items())
    return said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (SAVED, None),
        (COUNTERLESS, None),
        (named("module."), "names without 'module.'"),
        (named("_orig_mod."), "names without '_orig_mod.'"),
        (named("_orig_mod.module."), "names without '_orig_mod.module.'"),
        (named("net."), "names without 'net.'"),
        (
            {"epoch": 3, "state_dict": SAVED, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}},
            "its 'state_dict'",
        ),
        ({"model": named("module."), "lr": 0.1}, "its 'model', names without 'module.'"),
        (model(), None),
    ],
)
def test_what_is_certain_is_loaded_and_said(content: Any, said: str | None, tmp_path: Path) -> None:
    path = file_of(tmp_path, content.state_dict() if isinstance(content, nn.Module) else content)
    assert loads(path) == (said and f"weights of {path}: took {said}")


def refusal(path: Path, module: nn.Module | None = None) -> str:
    module = module or model()
    before = {name: item.clone() for name, item in module.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_weights(module, path)
    assert all(torch.equal(item, before[name]) for name, item in module.state_dict().items())
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


def command(message: str, path: Path, start: str) -> str:
    """The Python text in a message that begins with `start`, for the file itself and a new one beside it."""
    found = re.search(rf"({re.escape(start)}.*?'weights\.pt'\))", message)
    assert found is not None, message
    return (
        found[1].replace("FILE", repr(str(path))).replace("'weights.pt'", repr(str(path.parent / "new.pt")))
    )


def test_a_pickled_module_says_how_to_save_its_weights_and_that_works(tmp_path: Path) -> None:
    path = file_of(tmp_path, model())
    exec(command(refusal(path), path, "torch.save("), {"torch": torch})
    assert loads(tmp_path / "new.pt") is None


def test_a_torchscript_archive_says_how_to_save_its_weights_and_that_works(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    torch.jit.script(model()).save(str(path))
    exec(command(refusal(path), path, "torch.save("), {"torch": torch})
    assert loads(tmp_path / "new.pt") is None


def test_several_state_dicts_are_not_chosen_between(tmp_path: Path) -> None:
    path = file_of(tmp_path, {"ema": SAVED, "model": model(4).state_dict()})
    message = refusal(path)
    assert "'ema', 'model'" in message
    exec(command(message, path, "torch.save("), {"torch": torch})
    assert loads(tmp_path / "new.pt") is None


def test_another_number_of_classes_says_how_to_load_the_rest_and_that_works(tmp_path: Path) -> None:
    path = file_of(tmp_path, model(5).state_dict())
    message = refusal(path)
    assert "'3.weight' has shape (5, 8) in the file and (3, 8) in the model" in message
    program = message.partition("the function that makes the model: ")[2].replace("FILE", repr(str(path)))
    made = model()
    exec(program, {"torch": torch, "model": made})
    assert torch.equal(made.state_dict()["0.weight"], model(5).state_dict()["0.weight"])
    load_weights(model(5), path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"0.weight": SAVED["0.weight"]}, "'0.bias', '1.weight', '1.bias' and 4 more missing"),
        ({**SAVED, "extra": torch.zeros(1)}, "'extra' unknown to it"),
        ({"epoch": 3}, "holds a dict without a state_dict"),
        (torch.zeros(3), "holds a Tensor without a state_dict"),
    ],
)
def test_what_does_not_fit_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    assert message in refusal(file_of(tmp_path, content))


def test_files_that_torch_did_not_write_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no weights")
    assert "not a state_dict that torch.save wrote" in refusal(tmp_path / "text.pt")
    assert "no such file" in refusal(tmp_path / "none.pt")
