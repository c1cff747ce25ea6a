"""`odl run`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from odl.cli.consoles import print_line, progress_bar
from odl.cli.options import BuildName, RegisterBits, Seed
from odl.errors import InputError
from odl.targets import TARGETS

if TYPE_CHECKING:
    from odl.run.device import DeviceNet
    from odl.run.library import ProjectBuild
    from odl.run.net import Net


def run(
    directory: Annotated[Path, typer.Argument(help="A project that odl compile wrote.")],
    steps: Annotated[
        int | None, typer.Option(help="Training steps; 100, on a simulated device 1.", min=1)
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            help="Data set: digits, digits-photos, keywords-clean, keywords-noisy, cifar10:PATH, "
            "speech-commands:PATH, or random."
        ),
    ] = "random",
    build: BuildName = None,
    vlen: RegisterBits = None,
    lr: Annotated[
        float | None, typer.Option("--lr", help="Learning rate instead of the compiled one.")
    ] = None,
    seed: Seed = 0,
    trace_file: Annotated[
        Path | None,
        typer.Option(
            "--trace", help="Write signals of the simulated cores in the first step to this VCD file."
        ),
    ] = None,
    trace_cycles: Annotated[
        str | None,
        typer.Option(
            help="Cycles to trace, FIRST:LAST (0:100000 if not given); odl bench --json says where each "
            "operator begins."
        ),
    ] = None,
    trace_core: Annotated[
        int | None, typer.Option(help="Trace this core only; all if not given.", min=0)
    ] = None,
) -> None:
    """Run training steps and print the loss as it goes."""
    from odl.run.device import DeviceNet
    from odl.run.library import ProjectBuild

    chosen = None if build is None else ProjectBuild.of(build)
    for name, value in (("--trace-cycles", trace_cycles), ("--trace-core", trace_core)):
        if value is not None and trace_file is None:
            raise InputError(f"{name} {value} goes with --trace FILE")
    console = Console()
    with console.status("building"):
        net = _open(directory, chosen, vlen)
    if trace_file is not None:
        _trace(net, trace_file, trace_cycles or "0:100000", trace_core)
    samples = _samples(net, data, seed)
    if lr is not None:
        net.set_learning_rate(lr)
    steps = steps or (1 if net.on_device else 100)
    _train(console, net, samples, steps)
    if isinstance(net, DeviceNet):
        print_line(console, _cycles(net, steps))
    if net.skipped_steps:
        console.print(f"{net.skipped_steps} steps overflowed and were skipped; loss scale {net.loss_scale:g}")


def _open(directory: Path, build: ProjectBuild | None, vlen: int | None) -> Net:
    """The project's network; where nothing says how it is to run and no device is there, as fast as possible."""
    from odl.project.manifest import read_manifest
    from odl.run.library import ProjectBuild
    from odl.run.load import load_net

    options = read_manifest(directory).options
    on_host = not options.on_device
    if build is None and vlen is None and on_host:
        build = ProjectBuild.FAST
    return load_net(directory, build, vlen=vlen)


def _train(console: Console, net: Net, samples: Callable[[int], Any], steps: int) -> None:
    """Run the steps; ten times, or at each of fewer steps, print the loss's mean since the last time."""
    every = max(1, steps // 10)
    losses: list[float] = []
    with progress_bar(console, "training", steps) as done:
        for step in range(1, steps + 1):
            x, y = samples(step)
            losses.append(net.train_step(x, y))
            done(step)
            if step % every == 0 or step == steps:
                recent = losses[-every:]
                console.print(f"step {step:>6}  loss {sum(recent) / len(recent):.4f}", highlight=False)


def _trace(net: Net, file: Path, window: str, core: int | None) -> None:
    """Have the first step traced. InputError where that is impossible."""
    from odl.run.device import DeviceNet
    from odl.targets.common.session import Trace

    if not isinstance(net, DeviceNet):
        tracing = " or ".join(target.name for target in TARGETS.values() if target.traces)
        raise InputError(f"--trace {file}: only target {tracing} writes a trace")
    first, colon, last = window.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal()):
        raise InputError(f"--trace-cycles {window}: must be FIRST:LAST, such as 0:100000")
    net.trace_next(Trace(file.resolve(), int(first), int(last), core))


def _cycles(net: DeviceNet, steps: int) -> str:
    """The device's cycles for all steps, and what that means per step; where it counts none, who counts what."""
    if not net.unit:
        return (
            f"{net.target.simulator} has no cycles; {net.target.unit}, by operator: odl bench {net.directory}"
        )
    macs = net.project.step_macs
    each = net.cycles / steps
    return (
        f"{net.cycles:,} cycles, {each:,.0f} a step: {macs / each:.2f} MAC/clk; where they went: odl bench "
        f"{net.directory}"
    )


def _samples(net: Net, data: str, seed: int) -> Callable[[int], Any]:
    """A function that gives x and y of a step."""
    import numpy as np

    from odl.data import load

    random = np.random.default_rng(seed)
    batch = net.batch
    if data == "random":
        pool = [_random_sample(net, random) for _ in range(8)]
        return lambda step: pool[step % len(pool)]
    dataset = load(data)
    if dataset.x.shape[1:] != net.input.shape[1:]:
        raise InputError(
            f"data set {data} has samples of shape {dataset.x.shape[1:]}, "
            f"the network takes {net.input.shape[1:]}"
        )
    if net.project.options.loss != "cross_entropy":
        return lambda step: _reconstruction(dataset.x[random.integers(len(dataset.x), size=batch)])
    if len(dataset.classes) > net.output.shape[1]:
        raise InputError(
            f"data set {data} has {len(dataset.classes)} classes, the network {net.output.shape[1]} outputs"
        )

    def draw(step: int) -> Any:
        index = random.integers(len(dataset.x), size=batch)
        return dataset.x[index], dataset.y[index]

    return draw


def _reconstruction(x: Any) -> Any:
    return x, x


def _random_sample(net: Net, random: Any) -> Any:
    x = random.standard_normal(net.input.shape, dtype="float32")
    if net.project.options.loss == "cross_entropy":
        return x, random.integers(net.output.shape[1], size=net.batch)
    if net.output.shape == net.input.shape:
        return x, x
    return x, random.standard_normal(net.output.shape, dtype="float32")
