"""Runs the C of a random network: training, inference, overflow, state, everything that a caller may do.

    python -m benchmarks.assurance.drive FOLDER NUMBER

Called by coverage.py, for each network in a process of its own, with a compiler that counts branches. The network becomes a
project in FOLDER, with its profile beside it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import odl
from benchmarks.assurance.networks import Drawn, draw
from odl.project.manifest import read_manifest
from odl.run.net import Net

_RUNTIME = Path(__file__).parent / "threads.h"
#: More good steps than a loss scale waits before it grows, for small networks.
_LONG = 1001


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
        attempt("infer", sample()[0])


def main() -> None:
    """Drive the network that the command line names."""
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    made = project(folder, seed)
    if made is None:
        return
    directory, drawn = made
    os.environ["LLVM_PROFILE_FILE"] = str(directory.with_suffix(".profraw"))
    os.environ["ODL_THREADS"] = str(drawn.cores)
    exercise(Net(directory), seed)


if __name__ == "__main__":
    main()
