"""Scenarios: what is spoilt and found, what is apart, and one of them at full length."""

from __future__ import annotations

import numpy as np
import pytest

from odl.errors import InputError
from odl.learn.experiment import continual_result
from odl.learn.methods import continual_method
from odl.learn.network import Engine
from odl.learn.scenarios import (
    continual_scenario,
    continual_scenarios,
    forgetting_scenario,
    forgetting_scenarios,
)
from odl.learn.scenarios.corrective import Backdoor
from odl.learn.scenarios.forget_class import ForgetImages
from odl.learn.scenarios.keywords import SURROUNDINGS, NewWords


def quiet(*_: object) -> None:
    pass


def test_scenarios_are_found_and_named() -> None:
    assert {"new-words", "new-surroundings"} <= continual_scenarios().keys()
    assert {
        "forget-word",
        "forget-images",
        "forget-random",
        "swapped-labels",
        "backdoor",
    } <= forgetting_scenarios().keys()
    assert continual_scenario("new-words") == NewWords()
    assert forgetting_scenario("forget-images:digit=3") == ForgetImages("3")
    with pytest.raises(InputError, match="there is no class '11'; there are 0, 1"):
        ForgetImages("11").prepare("validation", quiet)


def test_a_class_of_images_is_gone_from_what_is_retained() -> None:
    task = ForgetImages("7").prepare("validation", quiet)
    assert set(task.forget.y) == {7}
    for data in (task.reference, task.retained, task.test):
        assert set(data.y) == set(range(10)) - {7}
    assert len(task.forget) + len(task.reference) == len(task.train) and 500 <= len(task.retained) <= 524


def test_half_of_a_backdoor_is_found() -> None:
    task = Backdoor().prepare("validation", quiet)
    spoilt = (task.train.x[:, :, -3:, -3:] == 1).all(axis=(1, 2, 3))
    assert 0.04 < spoilt.mean() < 0.06 and set(task.train.y[spoilt]) == {0}
    assert abs(2 * len(task.forget) - spoilt.sum()) <= 1
    assert (task.forget.x[:, :, -3:, -3:] == 1).all() and set(task.forget.y) == {0}
    assert not (task.reference.x[:, :, -3:, -3:] == 1).all(axis=(1, 2, 3)).any()
    assert len(task.reference) + spoilt.sum() == len(task.train)
    ((name, asked),) = task.others.items()
    assert "backdoor" in name and set(asked.y) == {0} and (asked.x[:, :, -3:, -3:] == 1).all()
    assert (task.retained.x[:, :, -3:, -3:] == 1).all(axis=(1, 2, 3)).any()  # those not found stay


def test_surroundings_become_harder_one_by_one() -> None:
    assert [domain.name for domain in SURROUNDINGS] == ["clean", "cover", "noise", "room"]
    assert [domain.cover_hz is None for domain in SURROUNDINGS] == [True, False, False, False]
    assert [domain.reverberation_seconds is None for domain in SURROUNDINGS] == [True, True, True, False]
    assert SURROUNDINGS[2].signal_to_noise_db < SURROUNDINGS[1].signal_to_noise_db


@pytest.mark.long
def test_new_words_by_an_analytic_head_within_128_kb() -> None:
    finals = []
    for seed in range(2):
        task = NewWords().prepare(seed, "test", quiet)
        result = continual_result(
            continual_method("slda"), task, Engine("fast", task.module, task.network), seed, quiet
        )
        assert result["figures"]["bytes"] <= 128_000
        finals.append(result["figures"]["final"])
    assert np.mean(finals) >= 84
