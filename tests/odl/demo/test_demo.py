"""The demonstration: its standard errors, what it refuses to claim, and a short run from one end to the other."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from odl.demo import __main__ as demo
from odl.demo.deployment import SCENARIOS, Outcome, Scenario, run, standard_error
from odl.demo.new_words import NewWords
from odl.demo.two_voices import TwoVoices
from odl.errors import InputError
from odl.learn.loops import RESNET8
from odl.learn.summary import Row, Spread

GOOD = Outcome(
    scenario=SCENARIOS[0],
    split="test",
    easy_accuracy=0.97,
    before=0.40,
    device=0.94,
    pytorch=0.945,
    standard_error=0.011,
    difference_error=0.003,
    samples=1794,
    originals=299,
    arena_bytes=1_274_000,
    device_seconds=16.0,
    pytorch_seconds=5.0,
    skipped_steps=0,
)


@given(st.integers(2, 400), st.floats(0.0, 1.0), st.integers(0, 1000))
def test_standard_error_of_independent_samples_is_the_binomial_one(count: int, p: float, seed: int) -> None:
    right = (np.random.default_rng(seed).random(count) < p).astype(np.float64)
    share = right.mean()
    expected = np.sqrt(share * (1 - share) / (count - 1))
    assert standard_error(right, np.arange(count)) == pytest.approx(expected, abs=1e-12)


@given(st.integers(2, 60), st.integers(1, 8), st.integers(0, 1000))
def test_copies_of_a_sample_add_no_certainty(originals: int, copies: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    right = (random.random(originals) < 0.8).astype(np.float64)
    order = random.permutation(originals * copies)
    copied, origin = np.tile(right, copies)[order], np.tile(np.arange(originals), copies)[order]
    once = standard_error(right, np.arange(originals))
    assert standard_error(copied, origin) == pytest.approx(once, abs=1e-12)


def test_standard_error_is_how_far_the_mean_scatters() -> None:
    """Against many drawn test sets of 40 voices, each with its own accuracy."""
    random = np.random.default_rng(0)
    origin = np.repeat(np.arange(40), 25)
    means, errors = [], []
    for _ in range(2000):
        right = (random.random(1000) < np.repeat(random.beta(8, 2, 40), 25)).astype(np.float64)
        means.append(right.mean())
        errors.append(standard_error(right, origin))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.05)
    assert np.isnan(standard_error(np.ones(5), np.zeros(5, np.int64)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": 0.93, "pytorch": 0.945}, "differ by 1.50 points"),
        ({"device": 0.875, "pytorch": 0.88}, "accuracy after is 87.5 %"),
        ({"before": 0.90}, "not clearly below"),
        ({"device": float("nan")}, "differ by nan"),
        ({"pytorch": float("nan")}, "differ by nan"),
        ({"before": float("nan")}, "not clearly below"),
    ],
)
def test_a_claim_that_does_not_hold_is_a_problem(change: dict[str, float], message: str) -> None:
    assert GOOD.problems() == []
    assert any(message in problem for problem in replace(GOOD, **change).problems())  # type: ignore[arg-type]


def test_table_names_the_test_set_and_fits_a_terminal() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(demo._table([GOOD, replace(GOOD, scenario=SCENARIOS[1])]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in (
        "on the test sets",
        "digits-photos",
        "keywords-noisy",
        "1,794 (299)",
        "± 1.1",
        "-0.50 ± 0.30",
    ):
        assert part in text
    assert "…" not in text


def test_progress_without_a_terminal_is_lines() -> None:
    console = Console(file=io.StringIO(), width=80)
    lines = demo._Lines(console)
    for stage in ("one", "two"):
        for done in range(101):
            lines.progress(stage, done, 100)
    lines.finish()
    text = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    expected = [
        f"{stage}: {what}" for stage in ("one", "two") for what in ("...", "25 %", "50 %", "75 %", "done")
    ]
    assert [line.removesuffix(" in 0 s") for line in text] == expected


@pytest.mark.parametrize("wrong", [{"network": "vgg"}, {"split": "train"}, {"split": ""}])
def test_wrong_options_are_one_clear_line(wrong: dict[str, str]) -> None:
    with pytest.raises(InputError, match="must be"):
        demo.demo(**wrong)


def test_a_short_run(private_cache: Path) -> None:
    recipe = replace(RESNET8, pretrain_epochs=1, steps=16)
    scenario = Scenario("resnet8", recipe, "digits", "digits-photos", "A short run.")
    stages: dict[str, list[tuple[int, int]]] = {}

    def progress(stage: str, done: int, total: int) -> None:
        stages.setdefault(stage, []).append((done, total))

    outcome = run(scenario, 0, progress, "validation")
    assert outcome.split == "validation" and outcome.samples == 1794 and outcome.originals == 299
    assert "data: digits-photos, validation" in stages and len(stages) == 8
    assert stages["adapting: generated C, mixed precision"] == [(1, 2), (2, 2)]
    assert 0.1 < outcome.easy_accuracy <= 1.0 and 0.0 < outcome.standard_error < 0.05
    # Two small updates in either arithmetic change hardly any decision.
    assert abs(outcome.device - outcome.pytorch) < 0.01


def test_a_claim_about_forgetting_that_does_not_hold_is_a_problem() -> None:
    good = TwoVoices((0.6, 0.7), (0.8, 0.9), (0.7, 0.8), True, b"", 144, 72, 0.1, 1000)
    assert good.problems() == []
    assert "is not that of a device" in replace(good, same=False).problems()[0]
    assert "learned nothing" in replace(good, both=(0.6, 0.7)).problems()[0]
    assert "learned nothing" in replace(good, both=(float("nan"), 0.7)).problems()[0]


def test_a_claim_about_new_words_that_does_not_hold_is_a_problem(tmp_path: Path) -> None:
    def row(method: str, final: float) -> Row:
        return Row(method, "fast", (0,), {"final": Spread(final, 0.0, 1)}, ())

    assert NewWords((row("naive", 17.0), row("slda", 88.0)), tmp_path).problems() == []
    for wrong in (40.0, float("nan")):
        assert NewWords((row("naive", 17.0), row("slda", wrong)), tmp_path).problems()
