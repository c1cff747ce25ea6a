"""Relearning: how soon a network that forgot knows again. What was hidden comes back in a few steps.

An attacker has the weights and some of the forgotten samples, trains on these, and looks at others of the same kind. A
network that only blocks its output, or that moved a little away from the original, gives itself away here: it needs fewer
steps than one that was retrained without those samples.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from odl.data import Dataset
from odl.learn.loops import one_thread
from odl.learn.network import last_layer
from odl.learn.task import drawn
from odl.learn.trainer import outputs


@dataclass(frozen=True)
class Attack:
    """Fine-tuning on forgotten samples: "sgd", "momentum" (0.9) or "adam" at a rate, with micro-batches.

    `fresh`: the outputs of the forgotten samples' classes start from zero, whatever keeps them shut.
    """

    optimizer: str
    rate: float
    micro_batch: int
    fresh: bool = False

    @property
    def name(self) -> str:
        """In one word."""
        return f"{self.optimizer} {self.rate:g} x{self.micro_batch}" + (
            " fresh outputs" if self.fresh else ""
        )

    def start(self, module: nn.Module, forget: Dataset) -> torch.optim.Optimizer:
        """The optimizer over a module's weights."""
        if self.fresh:
            layer = module.get_submodule(last_layer(module))
            with torch.no_grad():
                for parameter in layer.parameters():
                    parameter[np.unique(forget.y)] = 0
        if self.optimizer == "adam":
            return torch.optim.Adam(module.parameters(), self.rate)
        return torch.optim.SGD(module.parameters(), self.rate, 0.9 if self.optimizer == "momentum" else 0.0)


#: Three rates, three sizes of micro-batches, fresh outputs, momentum and Adam.
ATTACKS = (
    *(Attack("sgd", rate, 16) for rate in (0.003, 0.01, 0.03)),
    *(Attack("sgd", 0.01, size) for size in (4, 64)),
    Attack("sgd", 0.01, 16, fresh=True),
    *(Attack("momentum", rate, 16) for rate in (0.001, 0.003)),
    *(Attack("adam", rate, 16) for rate in (0.0003, 0.001)),
)
#: The attack whose curves are drawn.
SHOWN = Attack("sgd", 0.01, 16)


@dataclass(frozen=True)
class Curve:
    """Accuracy in percent on samples that the attacker does not train on, after so many steps."""

    steps: tuple[int, ...]
    accuracy: tuple[float, ...]
    reached: bool
    """Whether the last accuracy is what was to be reached; if not, the last step is where the attack was given up."""

    @property
    def cost(self) -> int:
        """Steps to the accuracy that was to be reached, or those after which the attack was given up."""
        return self.steps[-1]


def relearn(
    module: nn.Module,
    forget: Dataset,
    attack: Attack,
    *,
    seed: int = 0,
    wanted: float = 90.0,
    most: int = 300,
    every: int = 2,
) -> Curve:
    """Attack a copy of the module until half of `forget` is known to `wanted` percent from training on the other half."""
    known, judged = forget.split(0.5, seed=0)
    judged = judged.take(np.arange(min(len(judged), 100)))
    module = copy.deepcopy(module)
    optimizer = attack.start(module, forget)
    steps, accuracy = [0], [_accuracy(module, judged)]
    with one_thread():
        batches = drawn(known, attack.micro_batch, most, np.random.default_rng(seed))
        for step, batch in enumerate(batches, start=1):
            if accuracy[-1] >= wanted:
                break
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(module(torch.tensor(batch.x)), torch.tensor(batch.y))
            loss.backward()
            optimizer.step()
            if step % every == 0 or step == most:
                steps.append(step)
                accuracy.append(_accuracy(module, judged))
    return Curve(tuple(steps), tuple(accuracy), accuracy[-1] >= wanted)


def resistance(curve: Curve, retrained: list[Curve]) -> float:
    """Steps to relearn over the mean of retrained networks': 1 is as if it had never been learned.

    Where it starts above the wanted accuracy, 0. A network that was given up counts with the steps it was given.
    """
    mean = float(np.mean([other.cost for other in retrained]))
    return curve.cost / mean if mean > 0 else 1.0


def _accuracy(module: nn.Module, data: Dataset) -> float:
    logits = outputs(module, data.x)
    return 100 * float(((logits.argmax(axis=1) == data.y) & np.isfinite(logits).all(axis=1)).mean())
