"""One deployment: pretrain on an easy domain, fold, compile, adapt to the harder domain in C and in PyTorch."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

import odl
from odl import zoo
from odl.data import Dataset, load
from odl.learning.adapt import adapt, net_accuracy
from odl.learning.pretrain import Recipe, accuracy, adapt_pytorch, pretrain

#: Called as progress(stage, done, total) while a stage runs.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Scenario:
    """A network of the zoo, where it was trained and where it is put to work."""

    network: str
    recipe: Recipe
    easy: str
    hard: str
    story: str


@dataclass(frozen=True)
class Outcome:
    """Accuracies in 0..1 on the hard domain's test set, and what the device needs."""

    scenario: Scenario
    easy_accuracy: float
    before: float
    device: float
    pytorch: float
    arena_bytes: int
    device_seconds: float
    pytorch_seconds: float
    skipped_steps: int
    test_samples: int

    def problems(self) -> list[str]:
        """What the demonstration claims and this outcome does not show; empty when all holds."""
        found = []
        if not abs(self.device - self.pytorch) <= 0.01:
            found.append(
                f"C and PyTorch differ by {100 * abs(self.device - self.pytorch):.2f} points (at most 1)"
            )
        if not min(self.device, self.pytorch) >= 0.88:
            found.append(f"accuracy after is {100 * min(self.device, self.pytorch):.1f} % (at least 88 %)")
        if not self.before <= self.device - 0.05:
            found.append(f"accuracy before, {100 * self.before:.1f} %, is not clearly below that after")
        return found


def run(scenario: Scenario, seed: int, progress: Progress) -> Outcome:
    """Run one deployment; same seed, same order of samples in C and in PyTorch."""
    data = _load(scenario, seed, progress)
    recipe, model = scenario.recipe, zoo.get(scenario.network)
    module = model.factory()
    pretrain(
        module,
        data["easy train"],
        data["easy test"],
        epochs=recipe.pretrain_epochs,
        lr=recipe.pretrain_learning_rate,
        batch_size=recipe.pretrain_batch_size,
        seed=seed,
        progress=lambda done, total, _: progress("pretraining with batch norm in PyTorch", done, total),
    )
    easy = accuracy(module, data["easy test"])
    progress("compiling: fold batch norm, trace, plan, C", 0, 1)
    build = odl.compile(
        module,
        torch.from_numpy(data["hard train"].x[:1].copy()),
        dtype="mixed",
        bn="fold",
        optimizer=odl.SGD(recipe.learning_rate, recipe.momentum),
        accumulate=True,
        name=scenario.network,
    )
    net = build.load("fast")
    before = net_accuracy(net, data["hard test"])
    settings = {
        "lr": recipe.learning_rate,
        "steps": recipe.steps,
        "micro_batch": recipe.micro_batch,
        "seed": seed,
    }
    start = time.perf_counter()
    adapt(
        net,
        data["hard train"],
        **settings,  # type: ignore[arg-type]
        progress=lambda done, total, _: progress("adapting: generated C, mixed precision", done, total),
    )
    device_seconds = time.perf_counter() - start
    device = net_accuracy(net, data["hard test"])
    reference = copy.deepcopy(build.module)
    start = time.perf_counter()
    adapt_pytorch(
        reference,
        data["hard train"],
        **settings,  # type: ignore[arg-type]
        momentum=recipe.momentum,
        progress=lambda done, total, _: progress("adapting: PyTorch float32", done, total),
    )
    pytorch_seconds = time.perf_counter() - start
    return Outcome(
        scenario,
        easy,
        before,
        device,
        accuracy(reference, data["hard test"]),
        build.compiled.network.schedule.memory.peak_bytes,
        device_seconds,
        pytorch_seconds,
        net.skipped_steps,
        len(data["hard test"]),
    )


def _load(scenario: Scenario, seed: int, progress: Progress) -> dict[str, Dataset]:
    wanted = [
        (f"{domain} {split}", name, split)
        for domain, name in (("easy", scenario.easy), ("hard", scenario.hard))
        for split in ("train", "test")
    ]
    data: dict[str, Dataset] = {}
    for index, (key, name, split) in enumerate(wanted):
        progress(f"data: {name}, {split}", index, len(wanted))
        data[key] = load(name, split, seed=seed)  # type: ignore[arg-type]
    return data
