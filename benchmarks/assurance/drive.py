"""Runs the C of a random network: training, inference, overflow, state, everything that a caller may do.

    python -m benchmarks.assurance.drive FOLDER NUMBER
    python -m benchmarks.assurance.drive FOLDER states

Called by coverage.py, for each network in a process of its own, with a compiler that counts branches. The network becomes a
project in FOLDER. `states` saves and loads in a simulated flash, as `make power-cuts` does.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import odl
from benchmarks import power_cuts
from benchmarks.assurance.networks import Drawn, draw
from odl.graph.value import Role
from odl.project.entry_point import LABEL
from odl.project.manifest import read_manifest
from odl.run.net import Net

_RUNTIME = Path(__file__).parent / "threads.h"
#: More good steps than a loss scale waits before it grows, for small networks.
_LONG = 1001
#: Which of the networks of the power cuts: every fourth has each precision, and most optimizers.
_EACH = 4


def project(folder: Path, seed: int) -> tuple[Path, Drawn] | None:
    """The project of a network, with threads for cores; None where the options do not fit it, which odl says."""
    drawn = draw(seed)
    try:
        build = odl.compile(
            drawn.module, torch.zeros(drawn.shape), name=f"n{seed}", prefix="net", **drawn.options
        )
    except odl.InputError:
        return None
    directory = build.save(folder / f"n{seed}")
    for name in read_manifest(directory).files:
        if name.endswith("odl_runtime.h") and _is_of_host(directory / name):
            (directory / name).write_text(_RUNTIME.read_text(encoding="utf-8"), encoding="utf-8")
    return directory, drawn


def _is_of_host(header: Path) -> bool:
    return "Runtime of the host" in header.read_text(encoding="utf-8")


def exercise(net: Net, seed: int) -> None:
    """Call everything that the network offers, with good and bad data."""
    random = np.random.default_rng(seed)
    classes = net.project.options.loss == "cross_entropy"

    def sample(scale: float = 1.0) -> tuple[Any, Any]:
        x = (random.standard_normal(net.input.shape) * scale).astype(np.float32)
        if classes:
            return x, random.integers(net.output.shape[1], size=net.batch)
        return x, random.standard_normal(net.output.shape).astype(np.float32)

    def attempt(name: str, *given: Any) -> None:
        with contextlib.suppress(odl.OdlError):
            net.call(name, *given)

    saved = net.save()
    with contextlib.suppress(odl.OdlError):
        net.load(bytes(len(saved)))
    weight = random.random(net.batch).astype(np.float32)
    steps = ("accumulate", "accumulate") if net.project.options.accumulate else ("train_step",) * 2
    for scale in (1.0, 1.0, 3e37, 1.0):
        for given in (None, weight):
            for name in steps:
                attempt(name, *sample(scale), given)
            if net.project.options.accumulate:
                attempt("apply")
        attempt("infer", sample()[0])
        if scale > 1.0:
            net.load(saved)
    net.set_learning_rate(0.001)
    net.load_state_dict(net.state_dict())
    assert net.skipped_steps >= 0 and net.loss_scale > 0
    for _ in range(_LONG if net.project.step_macs < 20000 and not net.project.options.accumulate else 1):
        attempt(steps[0], *sample())
    for _ in range(14 if net.project.options.loss_scale_adapts else 0):  # down to the smallest loss scale
        attempt(steps[0], *sample(3e37))
        if net.project.options.accumulate:
            attempt("apply")
    with net.observed(lambda program, node: None):
        for name in {"infer", steps[0]}:
            attempt(name, *sample()[: 1 if name == "infer" else 2])
        if net.project.options.accumulate:
            attempt("apply")
    for rate in (-1.0, float("nan")):
        with contextlib.suppress(odl.OdlError):
            net.set_learning_rate(rate)
    _refused(net, *sample())


def _refused(net: Net, x: Any, y: Any) -> None:
    """Calls with one number that the C must refuse, past the checks of Python."""
    for entry_point in net._entry_points.values():
        names = {parameter.role: parameter.name for parameter in entry_point.parameters if parameter.role}
        roles = list(names)
        good = {Role.INPUT: x, Role.TARGET: y, Role.SAMPLE_WEIGHT: np.ones(net.batch, np.float32)}
        readers = dict(net._arrays.readers)
        if LABEL in entry_point.parameters:
            readers[Role.TARGET] = net._arrays.labels
        for role in roles:
            for bad in (np.nan, np.inf, 1e30, -1.0):
                given = {item: np.array(readers[item](good[item])) for item in roles}
                given[role].reshape(-1)[-1] = bad if given[role].dtype.kind == "f" else net.output.count + 7
                with contextlib.suppress(odl.OdlError):
                    net._call(entry_point, {names[role]: array for role, array in given.items()})


def states(folder: Path) -> None:
    """Cut the power while networks save, and damage what they saved; the C is in folders of its own."""
    for number, case in enumerate(power_cuts.cases()):
        if number % _EACH == 0 or "learn" in case.options:
            place = folder / str(number)
            place.mkdir(parents=True)
            program = power_cuts.build(case, place, {})
            subprocess.run([program, "1", "200", "2000"], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Drive what the command line names."""
    folder = Path(sys.argv[1])
    if sys.argv[2] == "states":
        states(folder)
        return
    seed = int(sys.argv[2])
    made = project(folder, seed)
    if made is None:
        return
    directory, drawn = made
    os.environ["ODL_THREADS"] = str(drawn.cores)
    exercise(Net(directory), seed)


if __name__ == "__main__":
    main()
