"""Runs methods that forget on a scenario, beside retrained networks that all of them are measured by."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
from torch import nn

from odl.data import SplitName
from odl.errors import CheckFailedError
from odl.learn.experiment import missing
from odl.learn.loops import Progress as TrainingProgress
from odl.learn.method import ForgettingMethod
from odl.learn.metrics.landscape import barrier, distance
from odl.learn.metrics.relearning import ATTACKS, SHOWN, Curve, relearn, resistance
from odl.learn.metrics.unlearning import Knowledge, knowledge, noise_floor, other_figures
from odl.learn.network import Engine, Size
from odl.learn.results import Cell, Folder, Result
from odl.learn.task import ForgettingScenario, ForgettingTask, Progress
from odl.learn.trainer import load, outputs, weights_of

#: Seeds of retrained networks, which no original has.
_FIRST_REFERENCE = 10_000
#: What there is to forget must be this many noise floors wide, and this many points.
_FLOORS, _POINTS = 3.0, 1.0


@dataclass(frozen=True)
class References:
    """Networks that never saw what is to be forgotten: what they know, their other figures, their relearning."""

    knowledge: tuple[Knowledge, ...]
    others: tuple[Mapping[str, float], ...]
    curves: Mapping[str, tuple[Curve, ...]]

    @classmethod
    def of(cls, task: ForgettingTask, count: int, progress: Progress) -> References:
        """Train or load them, and attack them."""
        modules = [
            task.network.trained(
                task.reference,
                task.recipe,
                _FIRST_REFERENCE + number,
                _training(progress, f"retraining {number + 1}"),
            )
            for number in range(count)
        ]
        curves: dict[str, list[Curve]] = {}
        for number, module in enumerate(modules):
            for attack in ATTACKS:
                progress(f"relearning of retrained network {number + 1}", number, count)
                curves.setdefault(attack.name, []).append(relearn(module, task.forget, attack))
        infer = [partial(outputs, module) for module in modules]
        return cls(
            tuple(knowledge(item, task) for item in infer),
            tuple(other_figures(item, task.others) for item in infer),
            {name: tuple(found) for name, found in curves.items()},
        )

    @classmethod
    def from_json(cls, stored: Result) -> References:
        """What `asdict` gave."""
        curves = {name: tuple(_curve(item) for item in found) for name, found in stored["curves"].items()}
        return cls(tuple(Knowledge(**item) for item in stored["knowledge"]), tuple(stored["others"]), curves)


def run_forgetting(
    scenario: ForgettingScenario,
    methods: Mapping[str, ForgettingMethod],
    todo: Sequence[Cell],
    folder: Folder,
    split: SplitName,
    dtype: str,
    references: int,
    progress: Progress,
) -> None:
    """Fill the folder with what is missing of `todo`; `methods` are by the text of a cell.

    CheckFailedError where the original knows no more of what is to be forgotten than retrained networks do.
    """
    open_cells = missing(todo, folder)
    if not open_cells:
        return
    task = scenario.prepare(split, progress)
    stored = folder.read_named("references")
    if stored is None:
        stored = asdict(References.of(task, references, progress))
        folder.write_named("references", stored)
    beside = References.from_json(stored)
    done, engines = len(todo) - len(open_cells), dict[str, Engine]()
    for seed in dict.fromkeys(cell.seed for cell in open_cells):
        original = task.network.trained(
            task.train, task.recipe, seed, _training(progress, f"training, seed {seed}")
        )
        check_memorised(knowledge(partial(outputs, original), task), beside.knowledge)
        for cell in open_cells:
            if cell.seed == seed:
                progress(
                    f"run {done + 1} of {len(todo)}: {cell.method} on {cell.engine}, seed {seed}",
                    done,
                    len(todo),
                )
                engine = engines.setdefault(cell.engine, Engine(cell.engine, original, task.network, dtype))
                result = forgetting_result(methods[cell.method], task, original, engine, seed, beside)
                folder.write(cell, result)
                done += 1


def check_memorised(original: Knowledge, retrained: Sequence[Knowledge]) -> None:
    """CheckFailedError unless the original differs from retrained networks clearly more than these do from each other."""
    gap, floor = original.gap(retrained), noise_floor(retrained)
    if not gap > max(_FLOORS * floor, _POINTS):
        raise CheckFailedError(
            f"nothing is memorised: the original's gap to retrained networks is {gap:.2f}, their own {floor:.2f}; "
            "no method could show that it forgets, so nothing is reported"
        )


def forgetting_result(
    method: ForgettingMethod,
    task: ForgettingTask,
    original: nn.Module,
    engine: Engine,
    seed: int,
    beside: References,
) -> Result:
    """One run; judging costs are not counted. The seed decides all that is drawn."""
    start = weights_of(original)
    trainer = engine.trainer(start)
    method.forget(trainer, task, np.random.default_rng(seed))
    costs, size = replace(trainer.costs), Size.of(original, task.network)
    now, weights = knowledge(trainer.infer, task), trainer.weights()
    module = copy.deepcopy(original)
    load(module, weights)
    curves = {attack.name: relearn(module, task.forget, attack) for attack in ATTACKS}
    resists = {name: resistance(curve, list(beside.curves[name])) for name, curve in curves.items()}
    others = other_figures(trainer.infer, task.others)
    first = other_figures(partial(outputs, original), task.others)
    return {
        "figures": asdict(now)
        | {
            "gap": now.gap(beside.knowledge),
            "noise": noise_floor(beside.knowledge),
            "relearn": min(resists.values()),
            "barrier": barrier(original, weights, start, task.test),
            "distance": distance(weights, start),
            "bytes": method.stored_bytes(task, size),
            "passes": costs.forward + costs.backward,
            "mega_macs": (costs.forward * size.forward_macs + costs.backward * size.step_macs) / 1e6,
        }
        | others
        | {f"{name}, recovered": _recovered(others[name], first[name], name, beside) for name in others},
        "settings": asdict(method),
        "costs": asdict(costs),
        "relearning": {
            name: {
                "steps": curve.cost,
                "reached": curve.reached,
                "retrained": [other.cost for other in beside.curves[name]],
                "ratio": resists[name],
            }
            for name, curve in curves.items()
        },
        "curve": asdict(curves[SHOWN.name]),
        "retrained_curves": [asdict(curve) for curve in beside.curves[SHOWN.name]],
    }


def _recovered(now: float, original: float, name: str, beside: References) -> float:
    """Percent of the way from the original's figure to the retrained networks'; 100 where there is no way to go."""
    wanted = float(np.mean([item[name] for item in beside.others]))
    return 100 * (now - original) / (wanted - original) if wanted != original else 100.0


def _training(progress: Progress, stage: str) -> TrainingProgress:
    return lambda done, total, _: progress(stage, done, total)


def _curve(stored: Mapping[str, object]) -> Curve:
    return Curve(tuple(stored["steps"]), tuple(stored["accuracy"]), bool(stored["reached"]))  # type: ignore[arg-type]
