"""`odl bench`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from odl.cli.consoles import table_console
from odl.cli.json_file import check_json_file, is_standard_output, write_json
from odl.cli.options import Given, JsonFile, RegisterBits, takes_options
from odl.errors import InputError, option
from odl.targets import TARGETS, Target, find
from odl.targets.common.session import Unit

if TYPE_CHECKING:
    from odl.bench import Measurement

_COUNTING = [target for target in TARGETS.values() if target.unit is not Unit.NOTHING]


# target: of those that count something, the one that says where cycles went.
@takes_options(
    "target",
    "isa",
    "dtype",
    "cores",
    defaults={"target": _COUNTING[0].name},
    panel="For models not compiled yet",
)
def bench(
    models: Annotated[
        list[str], typer.Argument(help="Projects that odl compile wrote, zoo names, or file.py:factory.")
    ],
    options: Given,
    vlen: RegisterBits = None,
    fpus: Annotated[
        int | None, typer.Option(help="Share this many FPUs among the cores; one each if not given.", min=1)
    ] = None,
    fpu_latency: Annotated[int, typer.Option(help="Pipeline registers of an FPU.", min=0, max=2)] = 1,
    ideal_icache: Annotated[
        bool, typer.Option("--ideal-icache", help="Instruction fetches always hit.")
    ] = False,
    summary: Annotated[
        bool, typer.Option("--summary", help="Only the whole step, not every operator.")
    ] = False,
    json_file: JsonFile = None,
    plot_file: Annotated[
        Path | None, typer.Option("--plot", help="Draw the roofline into this file (.png, .svg, .pdf).")
    ] = None,
) -> None:
    """Count the cycles of a training step on the simulated device: by operator, with where they went.

    Where a simulator has no cycles, count instructions.
    """
    from odl.cli.measurements import print_measurement

    check_json_file(json_file)
    if plot_file is not None and plot_file.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"--plot {plot_file}: the name must end in .png, .svg or .pdf")
    console = table_console(stderr=is_standard_output(json_file))
    choices = _choices(vlen=vlen, fpus=fpus, fpu_latency=fpu_latency, ideal_icache=ideal_icache)
    results: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="odl-bench-") as folder:
        for number, model in enumerate(models):
            directory = _project(model, Path(folder) / str(number), options)
            results.append(_measured(console, model, directory, choices))
            print_measurement(console, results[-1], summary)
    detailed = [result for result in results if any(item.bounds for item in result.operators)]
    if plot_file is not None:
        _plot(detailed, plot_file)
    write_json(json_file, [item.as_json() for item in sorted(results, key=lambda item: item not in detailed)])


def _measured(console: Console, model: str, directory: Path, choices: Mapping[str, Any]) -> Measurement:
    """A training step of the project, on the machine that was chosen."""
    from odl.bench import measure
    from odl.project.manifest import read_manifest

    options = read_manifest(directory).options
    target = options.description
    _check_choices(model, target, choices)
    with console.status(escape(f"simulating a training step of {model}")):
        return measure(directory, target.machine(options.core_count, counted=True, **choices))


def _plot(results: Sequence[Measurement], file: Path) -> None:
    """Draw the roofline; InputError where no result has what it needs."""
    from odl.bench.roofline import plot

    if not results:
        tracing = next(item.name for item in _COUNTING if item.traces)
        raise InputError(f"--plot {file}: a roofline needs cycles and their causes, as {tracing} counts them")
    plot(results, file)


def _choices(**given: Any) -> dict[str, Any]:
    """What was chosen of the machine, without what is as it always is."""
    usual = {"vlen": None, "fpus": None, "fpu_latency": 1, "ideal_icache": False}
    return {name: value for name, value in given.items() if value != usual[name]}


def _check_choices(model: str, compiled_for: Target, choices: Mapping[str, Any]) -> None:
    """InputError where something was chosen that the model's target has not."""
    for name, value in choices.items():
        if name not in compiled_for.machine_options:
            others = " or ".join(item.name for item in _COUNTING if name in item.machine_options)
            fixed = (
                ""
                if compiled_for.machine_options
                else f", and {compiled_for.simulator}'s machine is as it is"
            )
            raise InputError(
                f"{option(name, value)} goes with target {others}; {model} is for {compiled_for.name}{fixed}"
            )


def _project(model: str, directory: Path, options: Given) -> Path:
    """A directory with the project: the given one, or a fresh one compiled from a model."""
    from odl.build import compile
    from odl.models import resolve

    given = Path(model)
    if given.is_dir():
        return given
    target = find(str(options["target"]))
    if target.unit is Unit.NOTHING:
        raise InputError(
            f"{option('target', target.name)}: nothing is counted there; use {_COUNTING[0].name}"
        )
    made = resolve(model)
    chosen: dict[str, Any] = {**options, "loss": made.loss}
    build = compile(made.module, made.example(1), name=made.name, spec=made.spec, **chosen)
    return build.save(directory)
