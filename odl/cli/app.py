"""The typer application: commands are registered here, errors become one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from odl.cli import bench, doctor, learn, models, run, stack, state, tune, verify
from odl.cli import compile as compile_command
from odl.errors import InputError, OdlError

#: Base of typer's complaints about a command line; BadParameter is the one that every release exports.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
#: What shells report of a program that Ctrl-C ended.
_INTERRUPTED = 130

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
app.command("bench")(bench.bench)
app.command("stack")(stack.stack)
app.command("tune")(tune.tune)
app.command("doctor")(doctor.doctor)
app.add_typer(learn.learn, name="learn")
app.add_typer(state.state, name="state")


def _print_version(wanted: bool) -> None:
    if wanted:
        from odl import __version__

        typer.echo(f"odl {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
    ),
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; a user's error is one line on standard error, without a traceback."""
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    try:
        result = app(
            args=None if arguments is None else list(arguments), prog_name="odl", standalone_mode=False
        )
    except OdlError as error:
        return _fail(error.on_command_line, error.exit_code)
    except _UsageError as error:
        return _usage(error)
    except (typer.Abort, KeyboardInterrupt):
        return _fail("interrupted", _INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe has gone; nothing may be written to it when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        return _fail(f"{place}{error.strerror or error}", InputError.exit_code)
    if result == _INTERRUPTED:  # what typer makes of Ctrl-C
        return _fail("interrupted", _INTERRUPTED)
    return result if isinstance(result, int) else 0


def _usage(error: Any) -> int:
    """Typer's own complaint about the command line; without any arguments it is the help page."""
    message, context = str(error.format_message()), error.ctx
    if not message or message.count("\n") > 5:
        typer.echo(message)
        return int(error.exit_code)
    command = "odl" if context is None else context.command_path
    return _fail(f"{message.rstrip('.')}; see {command} --help", int(error.exit_code))


def _fail(message: str, exit_code: int) -> int:
    line = " ".join(message.split())
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"[bold red]odl:[/] {escape(line)}")
    return exit_code
