"""The typer application: commands are registered here, errors become one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from rich.console import Console

from odl.cli import compile as compile_command
from odl.cli import doctor, models, run, verify
from odl.errors import OdlError

app = typer.Typer(
    name="odl",
    help="Train PyTorch models on microcontrollers: compile a model to C that trains it, run and verify it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command("models")(models.models)
app.command("compile")(compile_command.compile_model)
app.command("run")(run.run)
app.command("verify")(verify.verify_project)
app.command("doctor")(doctor.doctor)


@app.callback()
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if version:
        from odl import __version__

        typer.echo(f"odl {__version__}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; an error that odl raises on purpose is one line without a traceback."""
    try:
        app(args=list(arguments) if arguments is not None else None)
    except OdlError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"[bold red]odl:[/] {_escaped(str(error))}")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("[", "\\[")
