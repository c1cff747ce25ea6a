"""How much the cycles of a training step depend on its data: the spread over random inputs on the RTL, by operator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from odl.bench.measure import divided
from odl.run.device import DeviceNet


@dataclass(frozen=True)
class Spread:
    """Cycles over several inputs."""

    name: str
    least: int
    most: int
    average: float

    @classmethod
    def of(cls, name: str, cycles: Sequence[int]) -> Spread:
        """The spread of these counts."""
        return cls(name, min(cycles), max(cycles), mean(cycles))

    @property
    def relative(self) -> float:
        """From least to most, as a part of the average."""
        return (self.most - self.least) / self.average if self.average else 0.0


@dataclass(frozen=True)
class CycleFigure:
    """A project's spread over `inputs` random samples: of the step, and of each kind of operator with its pass."""

    name: str
    inputs: int
    step: Spread
    operators: tuple[Spread, ...]

    @property
    def varying(self) -> tuple[Spread, ...]:
        """Operators whose cycles depend on data (or on what ran before them), the widest first."""
        return tuple(
            sorted(
                (item for item in self.operators if item.relative), key=lambda item: item.least - item.most
            )
        )


def measure(name: str, directory: Path, inputs: int) -> CycleFigure:
    """Train on so many random samples, each from the compiled weights, and see what each took."""
    net = DeviceNet(directory)
    start = net.save()
    totals: list[int] = []
    kinds: dict[str, list[int]] = defaultdict(list)
    for seed in range(inputs):
        net.load(start)
        random = np.random.default_rng(seed)
        x = random.standard_normal(net.input.shape).astype(np.float32)
        if net.project.options.loss == "cross_entropy":
            net.train_step(x, random.integers(net.output.shape[1], size=net.batch))
        else:
            net.train_step(x, random.standard_normal(net.output.shape).astype(np.float32))
        operators = list(divided(net))
        totals.append(sum(item.count for item in operators))
        for item in operators:
            kinds[f"{item.operator}, {item.pass_name}, {item.name}"].append(item.count)
    spreads = tuple(Spread.of(kind, counts) for kind, counts in kinds.items())
    return CycleFigure(name, inputs, Spread.of("step", totals), spreads)
