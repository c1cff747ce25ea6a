"""`odl learn`: methods that learn and forget, compared on a scenario."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from odl.cli.consoles import print_line, table_console
from odl.errors import CheckFailedError, InputError

if TYPE_CHECKING:
    from odl.data import SplitName
    from odl.learn.results import Cell, Folder, Settings

Made = TypeVar("Made")

learn = typer.Typer(
    help="Learning without forgetting, and forgetting on purpose: methods compared on a scenario.",
    no_args_is_help=True,
)

Scenario = Annotated[str, typer.Option(help="A scenario of odl learn list.")]
Methods = Annotated[
    str, typer.Option(help="Methods of odl learn list, with commas between; fields as in er:samples=480.")
]
Seeds = Annotated[int, typer.Option(help="Runs of each method.", min=1)]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of the results; a killed run goes on there.")
]
Engines = Annotated[
    str,
    typer.Option(
        "--on",
        help="Where it runs, with commas between: fast or exact C on this machine, pytorch, or a target.",
    ),
]
Split = Annotated[str, typer.Option(help="What is judged on: test, or validation to choose settings.")]
DType = Annotated[str, typer.Option(help="Precision of the C: fp32, fp16 or mixed.")]


@learn.command("list")
def list_all() -> None:
    """List scenarios and methods, with the methods' sources and settings."""
    import dataclasses

    from odl.learn import methods, scenarios

    console = table_console(stderr=False)
    for title, found in (
        ("odl learn continual", scenarios.continual_scenarios()),
        ("odl learn unlearn", scenarios.forgetting_scenarios()),
    ):
        table = Table("scenario", "what happens", title=title)
        for name, scenario in found.items():
            table.add_row(name, escape(scenario.title))
        console.print(table)
    for title, group in (
        ("odl learn continual", methods.continual_methods()),
        ("odl learn unlearn", methods.forgetting_methods()),
    ):
        table = Table("method", "source", "settings", title=title)
        for name, method in group.items():
            settings = " ".join(f"{item.name}={item.default}" for item in dataclasses.fields(method))
            source = f"{method.paper}; {method.equations}" + ("; exact" if method.exact else "")
            table.add_row(name, escape(source), escape(settings))
        console.print(table)


@learn.command("continual")
def continual(
    output: Output,
    scenario: Scenario = "new-words",
    methods: Methods = "naive,er,slda",
    seeds: Seeds = 2,
    engines: Engines = "fast",
    split: Split = "test",
    dtype: DType = "mixed",
) -> None:
    """Compare methods that learn one stage after another."""
    from odl.learn.experiment import run_continual
    from odl.learn.methods import continual_method
    from odl.learn.results import Settings
    from odl.learn.scenarios import continual_scenario

    chosen = {text: continual_method(text) for text in _texts("--methods", methods)}
    made, part = continual_scenario(scenario), _split(split)
    settings = Settings("continual", scenario, part, dtype)
    folder, todo = _begin(output, settings, list(chosen), engines, seeds)
    run_continual(made, chosen, todo, folder, part, dtype, _lines())
    _report(folder)


@learn.command("unlearn")
def unlearn(
    output: Output,
    scenario: Scenario = "forget-word",
    methods: Methods = "original,simnpo,ssd",
    seeds: Seeds = 2,
    references: Annotated[
        int,
        typer.Option(
            help="Retrained networks that methods are measured by; one tells no noise floor.", min=2
        ),
    ] = 3,
    engines: Engines = "fast",
    split: Split = "test",
    dtype: DType = "mixed",
) -> None:
    """Compare methods that forget, beside networks that never saw what was forgotten."""
    from odl.learn.forgetting import run_forgetting
    from odl.learn.methods import forgetting_method
    from odl.learn.results import Settings
    from odl.learn.scenarios import forgetting_scenario

    chosen = {text: forgetting_method(text) for text in _texts("--methods", methods)}
    made, part = forgetting_scenario(scenario), _split(split)
    settings = Settings("unlearn", scenario, part, dtype, references)
    folder, todo = _begin(output, settings, list(chosen), engines, seeds)
    run_forgetting(made, chosen, todo, folder, part, dtype, references, _lines())
    _report(folder)


@learn.command("report")
def report(folder: Annotated[Path, typer.Argument(help="Folder that odl learn wrote.")]) -> None:
    """Write the report of the results that are there, also of a run that is not finished."""
    from odl.learn.results import Folder

    _report(Folder(folder))


@learn.command("certify")
def certify(
    log: Annotated[Path, typer.Argument(help="A saved state with a log, or a dump of the device's storage.")],
    without: Annotated[str, typer.Option(help="Ids of the samples to forget, with commas between.")],
    project: Annotated[
        Path | None, typer.Option(help="The device's project; if not given, the folder that the log is in.")
    ] = None,
    digest: Annotated[
        str | None, typer.Option(help="The digest that the device claims; exit code 1 where it is another.")
    ] = None,
) -> None:
    """Compute the digest that a device has when it has forgotten samples."""
    from odl.learn.certify import certify as certified

    try:
        ids = [int(text) for text in _texts("--without", without)]
    except ValueError:
        raise InputError(f"--without {without}: must be whole numbers with commas between") from None
    found = certified(project or log.parent, log.read_bytes(), ids)
    console = Console()
    print_line(console, f"as saved: {found.given.hex()}")
    print_line(
        console, f"without {', '.join(map(str, ids))}: {found.without.hex()} (after {found.steps} steps)"
    )
    if digest is None:
        return
    if digest.strip().lower() != found.without.hex():
        raise CheckFailedError(f"the device claims {digest}, which is another state")
    print_line(console, "the device's claim is right")


def _begin(
    output: Path, settings: Settings, methods: list[str], engines: str, seeds: int
) -> tuple[Folder, list[Cell]]:
    """The folder, and what it is to hold."""
    from odl.learn.experiment import cells
    from odl.learn.network import ENGINES
    from odl.learn.results import Folder

    wanted = _texts("--on", engines)
    for engine in wanted:
        if engine not in ENGINES:
            raise InputError(f"--on {engine}: must be one of {', '.join(ENGINES)}")
    if settings.dtype not in ("fp32", "fp16", "mixed"):
        raise InputError(f"--dtype {settings.dtype}: must be fp32, fp16 or mixed")
    folder = Folder(output)
    folder.begin(settings)
    return folder, cells(methods, wanted, seeds)


def _texts(option: str, given: str) -> list[str]:
    """What stands between commas, each once."""
    found = list(dict.fromkeys(part.strip() for part in given.split(",")))
    if not all(found):
        raise InputError(f"{option} '{given}': nothing stands between two commas")
    return found


def _split(split: str) -> SplitName:
    if split == "test":
        return "test"
    if split == "validation":
        return "validation"
    raise InputError(f"--split {split}: must be test or validation")


def _lines() -> Callable[[str, int, int], None]:
    """Progress as lines on standard error: one when a stage begins."""
    console, last = Console(stderr=True), ""

    def show(stage: str, done: int, total: int) -> None:
        nonlocal last
        if stage != last:
            last = stage
            print_line(console, f"{stage} ...")

    return show


def _report(folder: Folder) -> None:
    from odl.learn.report import write_report
    from odl.learn.summary import columns

    settings, rows = write_report(folder)
    shown = [figure for figure in columns(settings.kind, rows) if figure.brief]
    table = Table(title=escape(f"{settings.scenario}, {settings.split} split, mean ± deviation over seeds"))
    table.add_column("method", overflow="fold")
    table.add_column("on", no_wrap=True)
    table.add_column("seeds", justify="right")
    for figure in shown:
        table.add_column(figure.title, justify="right")
    for row in rows:
        cells = (row.figures[figure.key].text(figure.digits) for figure in shown)
        table.add_row(escape(row.method), row.engine, str(len(row.seeds)), *cells)
    console = table_console(stderr=False)
    console.print(table)
    if settings.kind == "unlearn":
        print_line(
            console, f"noise floor of a gap: {rows[0].figures['noise'].mean:.2f}, of retrained networks"
        )
    print_line(console, f"{folder.path / 'report.html'}: the same with plots; report.json: the figures")
