"""One deployment: pretrain on an easy domain, fold, compile, adapt to the harder domain in C and in PyTorch."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

import odl
from odl import zoo
from odl.data import Dataset, SplitName, load
from odl.learn.loops import DSCNN, RESNET8, Recipe, adapt, adapt_pytorch, correct, net_correct, pretrain

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


#: The deployments that the demonstration follows.
SCENARIOS = (
    Scenario(
        network="resnet8",
        recipe=RESNET8,
        easy="digits",
        hard="digits-photos",
        story="Handwritten digits on plain ground; the device then meets digits on photographs.",
    ),
    Scenario(
        network="dscnn",
        recipe=DSCNN,
        easy="keywords-clean",
        hard="keywords-noisy",
        story="Twelve keywords in a quiet room; the device then hears them in noise. No voice is in two splits.",
    ),
)


@dataclass(frozen=True)
class Outcome:
    """Accuracies in 0..1 on the evaluated split of the hard domain, and what the device needs.

    `standard_error` is that of `device`, `difference_error` that of `device - pytorch`, see
    :func:`standard_error`; `originals` of the digits or voices are behind the `samples`.
    """

    scenario: Scenario
    split: SplitName
    easy_accuracy: float
    before: float
    device: float
    pytorch: float
    standard_error: float
    difference_error: float
    samples: int
    originals: int
    arena_bytes: int
    device_seconds: float
    pytorch_seconds: float
    skipped_steps: int

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


def run(scenario: Scenario, seed: int, progress: Progress, split: SplitName = "test") -> Outcome:
    """Run one deployment and evaluate it on `split`; same seed, same order of samples in C and in PyTorch."""
    data = _load(scenario, seed, progress, split)
    recipe, hard = scenario.recipe, data["hard evaluation"]

    def training(stage: str, train: Callable[..., object], network: object, domain: str) -> float:
        """Seconds that a stage takes."""
        start = time.perf_counter()
        train(
            network,
            data[f"{domain} train"],
            recipe,
            seed,
            lambda done, total, _: progress(stage, done, total),
        )
        return time.perf_counter() - start

    module = zoo.get(scenario.network).factory()
    training("pretraining with batch norm in PyTorch", pretrain, module, "easy")
    easy = correct(module, data["easy evaluation"])
    progress("compiling: fold batch norm, trace, plan, C", 0, 1)
    build = odl.compile(
        module,
        torch.from_numpy(hard.x[:1].copy()),
        dtype="mixed",
        bn="fold",
        optimizer=odl.SGD(recipe.learning_rate, recipe.momentum),
        accumulate=True,
        name=scenario.network,
    )
    net = build.load("fast")
    before = net_correct(net, hard)
    device_seconds = training("adapting: generated C, mixed precision", adapt, net, "hard")
    device = net_correct(net, hard)
    reference = copy.deepcopy(build.module)
    pytorch_seconds = training("adapting: PyTorch float32", adapt_pytorch, reference, "hard")
    pytorch = correct(reference, hard)
    origin = np.arange(len(hard)) if hard.origin is None else hard.origin
    return Outcome(
        scenario=scenario,
        split=split,
        easy_accuracy=float(easy.mean()),
        before=float(before.mean()),
        device=float(device.mean()),
        pytorch=float(pytorch.mean()),
        standard_error=standard_error(device.astype(np.float64), origin),
        difference_error=standard_error(device.astype(np.float64) - pytorch, origin),
        samples=len(hard),
        originals=len(np.unique(origin)),
        arena_bytes=build.compiled.network.schedule.memory.peak_bytes,
        device_seconds=device_seconds,
        pytorch_seconds=pytorch_seconds,
        skipped_steps=net.skipped_steps,
    )


def standard_error(values: NDArray[np.float64], origin: NDArray[np.int64]) -> float:
    """Standard error of the mean of `values` [N] when samples of equal `origin` [N] depend on each other.

    Renderings of one digit, or clips of one voice, tend to be right or wrong together, so what counts is how
    far the sums over origins scatter (cluster-robust variance: Liang and Zeger, "Longitudinal data analysis
    using generalized linear models", Biometrika 73(1), 1986). With every sample its own origin it is
    the usual sqrt(p (1 - p) / (N - 1)). Not a number for fewer than two origins.
    """
    _, group = np.unique(origin, return_inverse=True)
    sums = np.bincount(group, weights=values - values.mean())
    count = len(sums)
    if count < 2:
        return float("nan")
    return float(np.sqrt(count / (count - 1) * np.sum(sums**2)) / len(values))


def _load(scenario: Scenario, seed: int, progress: Progress, split: SplitName) -> dict[str, Dataset]:
    """ "easy" and "hard", each with " train" and " evaluation"."""
    data: dict[str, Dataset] = {}
    parts: tuple[tuple[str, SplitName], ...] = (("train", "train"), ("evaluation", split))
    for domain, name in (("easy", scenario.easy), ("hard", scenario.hard)):
        for use, wanted in parts:
            stage = f"data: {name}, {wanted}"
            progress(stage, 0, 1)
            data[f"{domain} {use}"] = load(
                name,
                wanted,
                seed=seed,
                progress=partial(progress, stage),
            )
    return data
