"""`odl tune`."""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from odl.cli.consoles import print_line, progress_bar, table_console
from odl.cli.json_file import check_json_file, is_standard_output, write_json
from odl.cli.options import Given, JsonFile, takes_options
from odl.errors import CheckFailedError, InputError, option
from odl.options import Options
from odl.targets import TARGETS

if TYPE_CHECKING:
    from odl.tune.case import Case
    from odl.tune.job import Job
    from odl.tune.report import TuningReport
    from odl.tune.workers import Pool

#: The target whose kernels have variants that can be measured.
_TARGET = next(target.name for target in TARGETS.values() if target.tuned)


# target: variants are measured where cycles are counted in the core's own RTL.
@takes_options("target", "dtype", "cores", defaults={"target": _TARGET})
def tune(
    models: Annotated[list[str], typer.Argument(help="Zoo names, or file.py:factory.")],
    options: Given,
    jobs: Annotated[
        int | None, typer.Option(help="Simulations at a time; as many as this machine has processors.", min=1)
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Measure on the workers of this Dask scheduler, such as tcp://host:8786."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Keep measurements in this file, instead of the user's cache.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Measure the variants too that the cost model takes for hopeless.")
    ] = False,
    fit_file: Annotated[
        Path | None,
        typer.Option(
            "--fit", help="Fit the cost model to all that is in the cache; weights go to this file."
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Measure variants of a network's kernels on the simulator; odl compile then takes the fastest.

    What is measured is kept at once: interrupt it, and the next run goes on from there.
    """
    from odl.tune.cache import known_timings, user_file
    from odl.tune.report import report
    from odl.tune.search import open_jobs

    check_json_file(json_file)
    chosen = Options.of(options)
    if chosen.target != _TARGET:
        raise InputError(f"{option('target', chosen.target)}: only {_TARGET} counts cycles")
    if scheduler is not None and jobs is not None:
        raise InputError("--jobs is for this machine; a Dask cluster has the workers that it has")
    console = table_console(stderr=is_standard_output(json_file))
    file = cache or user_file()
    known_timings(file)  # a damaged cache is said before the work, not after it
    reports: list[TuningReport] = []
    for model in models:
        with console.status(escape(f"compiling {model}")):
            cases = _cases(model, chosen)
            todo = open_jobs(cases, known_timings(file), everything)
        if todo:
            _measure(console, model, todo, file, _pool(jobs, scheduler), on_this_machine=scheduler is None)
        reports.append(report(cases, known_timings(file)))
        _print(console, f"{model}, {chosen.dtype}, {chosen.core_count} cores", reports[-1])
    if fit_file is not None:
        from odl.tune.fit import fit, write

        write(fit_file, fit(known_timings(file)))
    write_json(
        json_file, [_as_json(model, chosen, found) for model, found in zip(models, reports, strict=True)]
    )
    wrong = sum(len(found.problems) for found in reports)
    if wrong:
        raise CheckFailedError(f"{wrong} variants are wrong, as said above; none of them is ever chosen")


def _pool(jobs: int | None, scheduler: str | None) -> Pool:
    from odl.tune.workers import dask_cluster, local_processes

    if scheduler is not None:
        return functools.partial(dask_cluster, scheduler)
    return functools.partial(local_processes, jobs or os.cpu_count() or 1)


def _cases(model: str, options: Options) -> list[Case]:
    """The model's distinct kernel calls in a training step that is compiled with these options."""
    from odl.compiler import compile_network
    from odl.models import resolve
    from odl.targets.cv32e40p.description import Cluster
    from odl.tune.case import collect_cases

    made = resolve(model)
    options = replace(options, loss=made.loss)
    try:
        compiled = compile_network(
            made.module, made.example(1), made.name, options, made.spec, choose=lambda call: call
        )
    except InputError as error:
        raise InputError(f"{model}: {error.message}") from error
    return collect_cases(compiled.network.schedule, Cluster(cores=options.core_count))


def _measure(
    console: Console, model: str, jobs: Sequence[Job], file: Path, pool: Pool, *, on_this_machine: bool
) -> None:
    from odl.targets.cv32e40p.build_simulator import build_simulator
    from odl.tune.search import search

    if on_this_machine:
        with console.status("building the simulator"):
            build_simulator(jobs[0].cluster)
    with progress_bar(console, f"measuring kernels of {model}", len(jobs)) as show:
        done = itertools.count(1)
        search(jobs, file, pool, lambda _: show(next(done)))


def _as_json(model: str, options: Options, found: TuningReport) -> dict[str, Any]:
    error = found.model_error
    return {
        "model": model,
        "target": options.target,
        "dtype": options.dtype,
        "cores": options.core_count,
        "cycles": found.cycles,
        "default_cycles": found.first_cycles,
        "model_error": None if error is None else asdict(error),
        "shapes": [item.as_json() for item in found.cases],
        "problems": [
            {"template": case.call.kernel.template, "variant": json.loads(name), "problem": text}
            for case, name, text in found.problems
        ],
    }


def _print(console: Console, title: str, found: TuningReport) -> None:
    table = Table(title=f"Kernels of {escape(title)}: the fastest variants of each call")
    table.add_column("kernel", overflow="fold")
    table.add_column("shape", overflow="fold")
    table.add_column("calls", justify="right", no_wrap=True)
    table.add_column("chosen", overflow="fold")
    for heading in ("cycles", "default", "gain"):
        table.add_column(heading, justify="right", no_wrap=True)
    for item in found.cases:
        table.add_row(
            item.case.call.kernel.template,
            shape_text(item.case),
            str(item.case.calls),
            variant_text(item.chosen),
            f"{item.cycles:,}",
            "wrong" if item.first_cycles is None else f"{item.first_cycles:,}",
            f"{100 * item.gain:.1f} %" if item.gain else "",
        )
    console.print(table)
    lines = [f"{found.cycles:,} cycles a training step in these kernels, {found.first_cycles:,} by default"]
    error = found.model_error
    if error is not None:
        lines.append(
            f"cost model: off by {100 * error.mean_relative_error:.1f} % on average and "
            f"{100 * error.worst_relative_error:.1f} % at worst; "
            f"it picks the fastest variant {error.picks_fastest} times of {error.cases}, and loses "
            f"{100 * error.mean_loss_otherwise:.1f} % on average, "
            f"{100 * error.worst_loss:.1f} % at worst, where it does not"
        )
    for case, name, text in found.problems:
        lines.append(
            f"wrong: {case.call.kernel.template} {variant_text(name)} for {shape_text(case)}: {text}"
        )
    for line in lines:
        print_line(console, line)


def shape_text(case: Case) -> str:
    """Sizes of a call in one line: a convolution's as maps, anything else by name."""
    shape = case.call.shape
    if "kernel_h" not in shape or "out_c" not in shape:
        return " ".join(f"{name}={value}" for name, value in shape.items())
    batch = f"{shape['batch']}x" if shape["batch"] > 1 else ""
    window = f"{shape['kernel_h']}x{shape['kernel_w']}"
    stride = (
        "" if shape["stride_h"] == shape["stride_w"] == 1 else f"/{shape['stride_h']}x{shape['stride_w']}"
    )
    sizes = [f"{shape[f'{side}_h']}x{shape[f'{side}_w']}x{shape[f'{side}_c']}" for side in ("in", "out")]
    return f"{batch}{sizes[0]} {window}{stride} {sizes[1]}"


def variant_text(name: str) -> str:
    """A variant's sizes in one line."""
    return " ".join(f"{key.removeprefix('tile_')}={value}" for key, value in json.loads(name).items())
