"""`odl compile`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from odl.cli.consoles import print_line
from odl.cli.options import Given, takes_options
from odl.errors import CompileWarning, InputError, on_command_line
from odl.options import FACTS, Options

if TYPE_CHECKING:
    from odl.build import Build

_MODEL = "Zoo name (see odl models) or file.py:factory, a function that returns an nn.Module."


# loss: what the model was made for, which is known only when it has been made.
@takes_options(*FACTS, defaults={"loss": None})
def compile_model(
    model: Annotated[str, typer.Argument(help=_MODEL)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory to write the C project to.")],
    options: Given,
    batch: Annotated[int, typer.Option(help="Samples in one call.", min=1)] = 1,
    input_shape: Annotated[
        str | None,
        typer.Option(help="Input shape without batch, such as 3x32x32, where a factory gives none."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A file with the model's state_dict, written by torch.save.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="An NPZ file whose array x holds inputs that the analytic head's features are scaled for."
        ),
    ] = None,
    dump: Annotated[
        Path | None, typer.Option(help="Write what every stage gives as text into this directory.")
    ] = None,
) -> None:
    """Turn a PyTorch model into a C project that trains it, and say how much memory that takes."""
    Options.of(options)  # what is wrong with an option is said before PyTorch is imported
    from odl.build import compile
    from odl.calibrate import read_calibration
    from odl.checkpoints import load_weights
    from odl.models import parse_shape, resolve
    from odl.project.directory import check_output

    console = Console()
    check_output(output)
    if dump is not None:
        _check_dump(dump, output)
    loss = None if "loss" not in options else str(options["loss"])
    made = resolve(model, None if input_shape is None else parse_shape(input_shape), loss)
    if weights is not None and (taken := load_weights(made.module, weights)) is not None:
        print_line(console, taken)
    data = None if calibration is None else read_calibration(calibration)
    with console.status(escape(f"compiling {made.name}: trace, passes, memory plan, C")):
        example = made.example(batch)
        warnings.simplefilter("ignore", CompileWarning)  # the report has them
        build = compile(
            made.module,
            example,
            name=made.name,
            spec=made.spec,
            calibration=data,
            **{**options, "loss": made.loss},
        )
        if dump is not None:
            _dump(build.compiled.stages, dump)
        build.save(output)
    _report(console, build, output)


def _check_dump(directory: Path, output: Path) -> None:
    """InputError when the texts cannot go there, or would be in the way when the project is replaced."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"--dump {directory} is a file; name a directory")
    if directory.resolve().is_relative_to(output.resolve()):
        raise InputError(f"--dump {directory} is inside the project {output}; name another directory")


def _dump(stages: Mapping[str, str], directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in stages.items():
            (directory / f"{name}.txt").write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--dump {directory} cannot be written: {error.strerror or error}") from error


def _report(console: Console, build: Build, output: Path) -> None:
    from odl.plan.report import memory_table
    from odl.project.programs import INFER, STEP

    network = build.compiled.network
    console.print(memory_table(network.schedule.memories))
    console.print(f"{network.macs(INFER):,} MACs forward, {network.macs(STEP):,} a training step")
    for path in build.compiled.kept_norms:
        print_line(
            console,
            f"batch norm '{path}' stays, with frozen statistics: no layer before it could take it in, or only a frozen one",
        )
    for warning in build.compiled.warnings:
        print_line(console, f"warning: {on_command_line(warning)}")
    if build.unused:
        names = list(build.unused)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        print_line(console, f"the model never uses {', '.join(names[:3])}{more}; left out")
    print_line(console, f"wrote {output}; next: odl run {output}, odl verify {output}")
