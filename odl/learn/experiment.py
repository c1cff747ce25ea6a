"""Runs methods on a scenario, seed by seed, and keeps each result as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np

from odl.data import SplitName
from odl.learn.method import ContinualMethod, ContinualRun
from odl.learn.methods.head import HeadRun
from odl.learn.metrics.continual import continual_figures
from odl.learn.network import Engine
from odl.learn.results import Cell, Folder, Result
from odl.learn.task import ContinualScenario, ContinualTask, Progress
from odl.learn.trainer import weights_of


def cells(methods: Sequence[str], engines: Sequence[str], seeds: int) -> list[Cell]:
    """Every combination, all of a seed one after another."""
    return [Cell(method, engine, seed) for seed in range(seeds) for engine in engines for method in methods]


def missing(todo: Sequence[Cell], folder: Folder) -> list[Cell]:
    """Those without a result."""
    return [cell for cell in todo if folder.read(cell) is None]


def run_continual(
    scenario: ContinualScenario,
    methods: dict[str, ContinualMethod],
    todo: Sequence[Cell],
    folder: Folder,
    split: SplitName,
    dtype: str,
    progress: Progress,
) -> None:
    """Fill the folder with what is missing of `todo`; `methods` are by the text of a cell."""
    open_cells = missing(todo, folder)
    done = len(todo) - len(open_cells)
    for seed in dict.fromkeys(cell.seed for cell in open_cells):
        task = scenario.prepare(seed, split, progress)
        engines: dict[str, Engine] = {}
        for cell in open_cells:
            if cell.seed != seed:
                continue
            progress(
                f"run {done + 1} of {len(todo)}: {cell.method} on {cell.engine}, seed {seed}", done, len(todo)
            )
            engine = engines.setdefault(cell.engine, Engine(cell.engine, task.module, task.network, dtype))
            folder.write(cell, continual_result(methods[cell.method], task, engine, seed, lambda *_: None))
            done += 1


def continual_result(
    method: ContinualMethod,
    task: ContinualTask,
    engine: Engine,
    seed: int,
    progress: Callable[[int, int], None],
) -> Result:
    """One run; judging costs are not counted. The seed decides all that is drawn."""
    trainer = engine.trainer(weights_of(task.module))
    run = method.begin(trainer, task, np.random.default_rng(seed))
    rows: list[list[float]] = []
    stored = run.stored_bytes
    for number, stage in enumerate(task.stages):
        if number:
            run.learn(stage)
        stored = max(stored, run.stored_bytes)
        rows.append(_accuracies(run, task))
        progress(number + 1, len(task.stages))
    samples = np.array([len(stage.test) for stage in task.stages])
    figures = continual_figures(np.array(rows), samples, 100 / task.classes)
    size = task.size
    macs = trainer.costs.forward * size.forward_macs + trainer.costs.backward * size.step_macs
    return {
        "figures": asdict(figures) | {"bytes": stored, "mega_macs": macs / 1e6},
        "scratch_bytes": run.scratch_bytes if isinstance(run, HeadRun) else 0,
        "settings": asdict(method),
        "matrix": rows,
        "stages": [stage.name for stage in task.stages],
        "costs": asdict(trainer.costs),
        "parameters": size.parameters,
    }


def _accuracies(run: ContinualRun, task: ContinualTask) -> list[float]:
    costs = replace(run.trainer.costs)
    found = [100 * float((run.predict(stage.test.x) == stage.test.y).mean()) for stage in task.stages]
    run.trainer.costs = costs
    return found
