"""Forgetting from a scenario to its report; every figure can tell a fake."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from odl.data import Dataset
from odl.errors import CheckFailedError
from odl.learn.experiment import cells
from odl.learn.forgetting import References, check_memorised, forgetting_result, run_forgetting
from odl.learn.methods import forgetting_method, forgetting_methods
from odl.learn.methods.ssd import SSD
from odl.learn.metrics.landscape import barrier, distance
from odl.learn.metrics.membership import non_members
from odl.learn.metrics.relearning import ATTACKS, SHOWN, relearn, resistance
from odl.learn.metrics.unlearning import Knowledge, knowledge, noise_floor
from odl.learn.network import Engine
from odl.learn.report import write_report
from odl.learn.results import Folder, Settings
from odl.learn.scenarios.forget_class import without_class
from odl.learn.task import ForgettingTask
from odl.learn.trainer import outputs, weights_of
from tests.odl.learn.tiny import NETWORK, RECIPE, ForgetChecks, stripes

pytestmark = pytest.mark.usefixtures("private_cache")


def quiet(*_: object) -> None:
    pass


@pytest.fixture(scope="module")
def task(private_cache: object) -> ForgettingTask:
    return ForgetChecks().prepare("test", quiet)


@pytest.fixture(scope="module")
def original(task: ForgettingTask) -> nn.Module:
    return NETWORK.trained(task.train, RECIPE, 0)


@pytest.fixture(scope="module")
def references(task: ForgettingTask) -> References:
    return References.of(task, 2, quiet)


def known(module: nn.Module, task: ForgettingTask) -> Knowledge:
    return knowledge(partial(outputs, module), task)


def blocked(module: nn.Module, label: int, by: float) -> nn.Module:
    """A fake: it never says that class, and knows all of it."""
    fake = copy.deepcopy(module)
    last = [layer for layer in fake.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.bias[label] -= by
    return fake


def least(module: nn.Module, task: ForgettingTask, references: References) -> float:
    curves = {attack.name: relearn(module, task.forget, attack) for attack in ATTACKS}
    return min(resistance(curve, list(references.curves[name])) for name, curve in curves.items())


@pytest.mark.parametrize("by", [8.0, 20.0])
def test_a_blocked_output_passes_for_forgotten_until_it_is_relearned(
    by: float, task: ForgettingTask, original: nn.Module, references: References
) -> None:
    fake, found = blocked(original, 3, by), known(blocked(original, 3, by), task)
    assert known(original, task).ua < 10 and found.ua == 100
    assert found.gap(references.knowledge) < known(original, task).gap(references.knowledge) / 2
    honest = least(NETWORK.trained(task.reference, RECIPE, 77), task, references)
    assert least(fake, task, references) < 0.6 < honest


def test_an_attack_that_is_given_up_says_so(task: ForgettingTask, original: nn.Module) -> None:
    curve = relearn(blocked(original, 3, 20), task.forget, replace(SHOWN, rate=1e-9), most=5)
    assert not curve.reached and curve.steps == (0, 2, 4, 5)
    known_already = relearn(original, task.forget, SHOWN)
    assert known_already.reached and known_already.cost == 0


def test_membership_sees_who_was_learned_and_is_blind_without_a_difference() -> None:
    generator = np.random.default_rng(0)
    sure, unsure = generator.uniform(0.9, 1, (2, 300)), generator.uniform(0.2, 0.8, (2, 300))
    low = non_members(*(np.float32(item) for item in (sure[0], unsure[0], sure[1])))
    high = non_members(*(np.float32(item) for item in (sure[0], unsure[0], unsure[1])))
    assert low < 5 and high > 95
    blind = non_members(*(np.float32(item) for item in (sure[0], sure[1], sure[0][::-1])))
    assert 20 < blind < 80


def test_gap_and_noise_floor_by_hand() -> None:
    a, b, c = Knowledge(100, 90, 80, 70), Knowledge(98, 90, 80, 70), Knowledge(100, 94, 80, 70)
    assert a.gap([b, c]) == pytest.approx((1 + 2) / 4)
    assert noise_floor([a, b]) == pytest.approx(0.5) and noise_floor([a]) == 0


def test_where_nothing_is_memorised_nothing_is_reported(task: ForgettingTask, original: nn.Module) -> None:
    retrained = [Knowledge(10, 90, 80, 50), Knowledge(12, 92, 80, 54)]
    with pytest.raises(CheckFailedError, match="nothing is memorised"):
        check_memorised(Knowledge(9, 91, 81, 50), retrained)
    check_memorised(Knowledge(0, 99, 80, 20), retrained)
    with pytest.raises(CheckFailedError, match="nothing is memorised"):
        check_memorised(Knowledge(float("nan"), 91, 81, 50), retrained)


def test_distance_and_barrier_of_what_can_be_computed(task: ForgettingTask, original: nn.Module) -> None:
    start = weights_of(original)
    doubled = {name: 2 * own for name, own in start.items()}
    assert distance(doubled, start) == pytest.approx(1) and distance(start, start) == 0
    assert barrier(original, start, start, task.test) == pytest.approx(0, abs=1e-9)
    # The same function with hidden channels in another order: on the way both are mixed up.
    other, order = copy.deepcopy(original), [7, 6, 5, 4, 3, 2, 1, 0]
    with torch.no_grad():
        first, second = other[0], other[3]  # type: ignore[index]
        first.weight.copy_(first.weight[order])
        first.bias.copy_(first.bias[order])
        second.weight.copy_(second.weight[:, order])
    np.testing.assert_allclose(outputs(other, task.test.x), outputs(original, task.test.x), atol=1e-4)
    assert barrier(original, weights_of(other), start, task.test) > 0.1


@pytest.mark.parametrize("name", sorted({*forgetting_methods()} - {"original", "retrain"}))
def test_every_method_changes_what_it_should(
    name: str, task: ForgettingTask, original: nn.Module, references: References
) -> None:
    settings = {
        "ssd-resist": ":updates=30:attack=2",
        "ascent": ":rate=0.004",
        "neggrad": ":alpha=0.7",
        "ssd": ":percentile=90",
    }
    method = forgetting_method(name + settings.get(name, ""))
    assert method.paper and method.equations and type(method).__doc__
    result = forgetting_result(method, task, original, Engine("pytorch", original, NETWORK), 0, references)
    figures = result["figures"]
    before = known(original, task)
    assert figures["distance"] > 0 and figures["passes"] > 0 and figures["bytes"] >= 0
    if name in ("fine-tune", "l1-sparse"):  # these look at retained samples only
        assert figures["ra"] >= before.ra - 5
    else:
        assert figures["ua"] > before.ua + 5


def test_salun_leaves_masked_weights_alone(task: ForgettingTask, original: nn.Module) -> None:
    trainer = Engine("pytorch", original, NETWORK).trainer(weights_of(original))
    forgetting_method("salun:share=0.25").forget(trainer, task, np.random.default_rng(0))
    same = [own == trainer.weights()[name] for name, own in weights_of(original).items()]
    share = np.concatenate([part.ravel() for part in same]).mean()
    assert 0.7 < share < 0.8


def test_ssd_dampens_by_the_formula(task: ForgettingTask, original: nn.Module) -> None:
    trainer = Engine("pytorch", original, NETWORK).trainer(weights_of(original))
    method = SSD(percentile=80)
    retained, forgotten = (method.importance(trainer, data) for data in (task.retained, task.forget))
    method.forget(trainer, task, np.random.default_rng(0))
    changed = 0
    for name, own in weights_of(original).items():
        now = trainer.weights()[name]
        moved = now != own
        changed += int(moved.sum())
        np.testing.assert_allclose(now[moved], (own * retained[name] / forgotten[name])[moved], rtol=1e-5)
        assert (np.abs(now) <= np.abs(own)).all()
    assert 0 < changed <= 0.2 * sum(own.size for own in trainer.weights().values()) + 1


def test_a_run_ends_in_a_report_and_goes_on(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "a")
    folder.begin(Settings("unlearn", "forget-checks", "test", "mixed"))
    methods = {text: forgetting_method(text) for text in ("original", "retrain", "ssd")}
    todo = cells(list(methods), ["fast"], 2)
    run_forgetting(ForgetChecks(), methods, todo[:4], folder, "test", "mixed", 2, quiet)
    run_forgetting(ForgetChecks(), methods, todo, folder, "test", "mixed", 2, quiet)
    whole = Folder(tmp_path / "b")
    whole.begin(Settings("unlearn", "forget-checks", "test", "mixed"))
    run_forgetting(ForgetChecks(), methods, todo, whole, "test", "mixed", 2, quiet)
    assert folder.all() == whole.all()
    _, rows = write_report(folder)
    figures = {row.method: row.figures for row in rows}
    assert figures["retrain"]["gap"].mean < 5 < figures["original"]["gap"].mean
    assert figures["original"]["relearn"].mean == 0
    page = (tmp_path / "a" / "report.html").read_text()
    assert page.count("<svg") == 2 and "noise floor" in page


def test_scenarios_hold_what_they_say(task: ForgettingTask) -> None:
    assert set(task.forget.y) == {3} and 3 not in task.reference.y and 3 not in task.test.y
    assert len(task.forget) + len(task.reference) == len(task.train)
    data = stripes(200, 5)
    assert len(without_class(NETWORK, RECIPE, data, data, "rows").reference) < 200
    other: Dataset = task.retained
    assert set(other.y) == {0, 1, 2}
