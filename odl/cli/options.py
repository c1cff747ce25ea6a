"""Options of several commands, each declared once: those of a compilation come from the fields of `Options`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, get_type_hints

import typer

from odl.errors import InputError, option
from odl.learners import SETTINGS, Learner, with_settings
from odl.optimizers import CHOICES, OPTIMIZERS, field_help, make_optimizer
from odl.options import DEFAULTS, FACTS
from odl.targets import TARGETS

#: What a command's parameter of this type gets: the options of a compilation that the user gave, or that have a default.
Given = Mapping[str, object]

#: Lengths of vector registers that some machine may have.
_REGISTERS = ", ".join(
    str(bits)
    for bits in dict.fromkeys(
        bits for target in TARGETS.values() for isa in target.instruction_sets for bits in isa.vector_bits
    )
)

JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write the figures to this file; - for standard output.")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all that is drawn at random.", min=0)]
BuildName = Annotated[
    str | None,
    typer.Option(
        "--build",
        help="exact (the devices' bits) or fast: this machine, whatever the target. device: the target, the default.",
    ),
]
RegisterBits = Annotated[
    int | None,
    typer.Option(
        "--vlen",
        help=f"Bits of a vector register where the target has any: {_REGISTERS} (the first by default).",
    ),
]

#: The fields of all optimizers, each with its type.
_OPTIMIZER_FIELDS: Mapping[str, Any] = {
    item.name: get_type_hints(optimizer)[item.name]
    for optimizer in OPTIMIZERS.values()
    for item in dataclasses.fields(optimizer)
}
_NONE: Mapping[str, object] = MappingProxyType({})


def takes_options(
    *names: str, defaults: Mapping[str, object] = _NONE, panel: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command that takes these options of a compilation: its parameter `options: Given` becomes one for each.

    `defaults`: where this command differs from a compilation; None for no default. `panel`: the heading of the options
    on the help page.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters: list[inspect.Parameter] = []
        for item in inspect.signature(command, eval_str=True).parameters.values():
            own = item.replace(kind=item.KEYWORD_ONLY)
            parameters += (
                [own] if item.name != "options" else _parameters(names, {**DEFAULTS, **defaults}, panel)
            )

        @functools.wraps(command)
        def run(**arguments: Any) -> None:
            command(options=_given(names, arguments), **arguments)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {item.name: item.annotation for item in parameters}
        return run

    return decorate


def _parameters(
    names: tuple[str, ...], defaults: Mapping[str, object], panel: str | None
) -> list[inspect.Parameter]:
    """The options as typer reads them from a signature."""
    found: list[inspect.Parameter] = []
    for name in names:
        if name == "optimizer":
            found += _optimizer_parameters(panel)
            continue
        if name == "learn":
            found += _learn_parameters(panel)
            continue
        facts, default = FACTS[name], defaults[name]
        found.append(_parameter(name, facts.kind.typed, default, facts.help, panel))
    return found


def _optimizer_parameters(panel: str | None) -> list[inspect.Parameter]:
    """The option `optimizer` as several: which it is, and its fields."""
    which = _parameter("optimizer", str, DEFAULTS["optimizer"].name, f"{', '.join(CHOICES)}.", panel)
    fields = _OPTIMIZER_FIELDS.items()
    return [which, *(_parameter(name, typed, None, field_help(name), panel) for name, typed in fields)]


def _learn_parameters(panel: str | None) -> list[inspect.Parameter]:
    """The option `learn` as several: the primitives' names, and the settings of each."""
    settings = [
        _parameter(
            name,
            item.metadata["kind"].typed,
            None,
            f"{item.metadata['help']} ({item.default} if not given).",
            panel,
        )
        for name, (_, item) in SETTINGS.items()
    ]
    return [_parameter("learn", str, "", FACTS["learn"].help, panel), *settings]


def _parameter(name: str, typed: Any, default: object, text: str, panel: str | None) -> inspect.Parameter:
    settings = typer.Option(f"--{name.replace('_', '-')}", help=text, rich_help_panel=panel)
    typed = typed if default is not None else typed | None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[typed, settings]
    )


def _given(names: tuple[str, ...], arguments: dict[str, Any]) -> Given:
    """Takes the options of a compilation out of a command's arguments."""
    found: dict[str, object] = {}
    for name in names:
        if name == "optimizer":
            fields = {item: arguments.pop(item) for item in _OPTIMIZER_FIELDS}
            found[name] = make_optimizer(arguments.pop(name), fields)
        elif name == "learn":
            settings = {item: arguments.pop(item) for item in SETTINGS}
            found[name] = _learners(arguments.pop(name), settings)
        else:
            found[name] = arguments.pop(name)
    return {name: value for name, value in found.items() if value is not None}


def _learners(text: str, settings: Mapping[str, Any]) -> tuple[Learner, ...]:
    try:
        return with_settings(text, settings)
    except ValueError as error:
        raise InputError(f"{option('learn', text)}: {error}") from None
