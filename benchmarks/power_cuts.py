"""What saved training states survive: power cuts at every call of a flash, flipped bits, truncations; `make power-cuts`.

    python benchmarks/power_cuts.py [--cuts N] [--damages N] [--json FILE]

The generated C of small networks, with every optimizer and in every precision, saves to a simulated flash
(programs/power_cuts.c, which says what it does to it). After a cut the old or the new state must load, bit for bit, and the
next save must work; a damaged state must be refused. Exit code 1 where anything does not hold.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

import odl
from odl.codegen.project import write_project
from odl.optimizers import CHOICES
from odl.precision import Precision

PROGRAM = Path(__file__).parent / "programs" / "power_cuts.c"
_BATCH = (2, 3, 5, 4)


@dataclass(frozen=True, eq=False)
class Case:
    """A network whose states are saved, and its options."""

    name: str
    model: nn.Module
    batch: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass
class Figures:
    """What was counted; `faults` are all zero where everything holds."""

    counts: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)

    def add(self, other: Figures) -> None:
        """Count together."""
        for own, more in ((self.counts, other.counts), (self.faults, other.faults)):
            for name, number in more.items():
                own[name] = own.get(name, 0) + number

    @property
    def cuts(self) -> int:
        """Simulated power cuts."""
        return self.counts["cuts"]

    @property
    def damages(self) -> int:
        """Flipped bits and truncations."""
        return sum(self.counts[name] for name in ("flips", "truncations", "slot_flips"))

    @property
    def sound(self) -> bool:
        """Whether nothing went wrong."""
        return not any(self.faults.values())


def cases() -> Iterator[Case]:
    """Small networks with every optimizer in every precision, and with the states that other options add."""
    for optimizer, chosen in CHOICES.items():
        for dtype in Precision:
            options = {"optimizer": chosen, "dtype": dtype}
            yield Case(f"convolutional, {optimizer}, {dtype}", _convolutional(), _BATCH, options)
    momentum = CHOICES["momentum"]
    for dtype in Precision:
        options = {"optimizer": momentum, "dtype": dtype, "accumulate": True}
        yield Case(f"accumulating, momentum, {dtype}", _convolutional(), _BATCH, options)
        options = {"optimizer": momentum, "dtype": dtype, "bn": "train"}
        yield Case(f"batch norm, momentum, {dtype}", _convolutional(), _BATCH, options)
    yield Case("linear, sgd, fp16", nn.Linear(60, 3), (2, 60), {"dtype": "fp16"})
    learn = (odl.Log(samples=8, states=2), odl.Replay(samples=4))
    log = {"dtype": "mixed", "learn": learn, "accumulate": True, "optimizer": momentum}
    yield Case("log and replay, momentum, mixed", _convolutional(), (1, *_BATCH[1:]), log)
    importance = {"dtype": "mixed", "bn": "frozen", "learn": ("importance",), "optimizer": momentum}
    yield Case("importance, momentum, mixed", _convolutional(), (1, *_BATCH[1:]), importance)


def run(
    case: Case, cuts: int, damages: int, seed: int = 1, change: Mapping[str, str] | None = None
) -> Figures:
    """The figures of one network; `change` replaces texts of its state's C, to see that the faults are found."""
    with tempfile.TemporaryDirectory() as folder:
        program = build(case, Path(folder), change or {})
        done = subprocess.run(
            [program, str(seed), str(cuts), str(damages)], capture_output=True, text=True, check=True
        )
    found = json.loads(done.stdout)
    return Figures({name: number for name, number in found.items() if name != "faults"}, found["faults"])


def build(case: Case, folder: Path, change: Mapping[str, str], flags: tuple[str, ...] = ()) -> Path:
    """The program that tries a network's states; AssertionError where a text to be replaced is not there once."""
    project = folder / "net"
    write_project(_compiled(case).compiled.network, project)
    source = project / "net_state.c"
    text = source.read_text()
    for old, new in change.items():
        assert text.count(old) == 1, f"net_state.c has {text.count(old)} times {old}"
        text = text.replace(old, new)
    source.write_text(text)
    lines = subprocess.run(
        ["make", "--silent", "print-exact"], cwd=project, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    compiler, sources = lines[0].split(), lines[1].split()
    train = "net_train_step(x, target, NULL, NULL)"
    if case.options.get("accumulate"):
        train = "if (random_below(3u) != 0u) {net_accumulate(x, target, NULL, NULL);} else {net_apply();}"
    if case.name.startswith("importance"):
        train = "net_train_step(x, target, NULL, NULL); net_importance(x, target, NULL)"
    if case.name.startswith("log"):
        train = "static uint32_t id; const uint32_t label = random_below(3u), gone = id / 2u; id++;"
        train += "if (net_learn(x, &label, id, NULL) == NET_LOG_FULL) {net_drop_log();} (void)net_forget(&gone, 1u)"
    command = ["gcc", *compiler, "-Wno-error", f"-DTRAIN={train}", *flags, str(PROGRAM), *sources, "-lm"]
    subprocess.run([*command, "-o", str(folder / "power_cuts")], cwd=project, check=True)
    return folder / "power_cuts"


@cache
def _compiled(case: Case) -> odl.Build:
    return odl.compile(case.model, torch.zeros(case.batch), prefix="net", **case.options)


def _convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(80, 3),
    )


def main() -> int:
    """Try every case, print and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cuts", type=int, default=100_000, help="power cuts at least, over all networks")
    parser.add_argument(
        "--damages", type=int, default=1_000_000, help="flipped bits and truncations at least"
    )
    parser.add_argument("--json", type=Path, default=Path("power_cuts.json"), help="where the figures go")
    given = parser.parse_args()
    total, every, begin = Figures(), list(cases()), time.monotonic()
    rows = {}
    for number, case in enumerate(every):
        figures = run(case, -(-given.cuts // len(every)), -(-given.damages // len(every)), seed=number + 1)
        total.add(figures)
        rows[case.name] = {**figures.counts, "faults": figures.faults}
        outcome = "ok" if figures.sound else str(figures.faults)
        print(f"{case.name:36} {figures.cuts:>7,} cuts {figures.damages:>9,} damages  {outcome}", flush=True)
    seconds = round(time.monotonic() - begin)
    print(
        f"{len(every)} networks, {seconds} s: {total.cuts:,} power cuts ({total.counts['kept_old']:,} gave the old state, "
        f"{total.counts['took_new']:,} the new one, {total.counts['first_saves']:,} were in a first save), "
        f"{total.damages:,} flipped bits and truncations; faults: {total.faults}"
    )
    given.json.write_text(
        json.dumps({"total": {**total.counts, "faults": total.faults}, "networks": rows}, indent=1) + "\n"
    )
    return 0 if total.sound else 1


if __name__ == "__main__":
    sys.exit(main())
