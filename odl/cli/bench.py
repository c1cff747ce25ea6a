"""`odl bench`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from odl.cli.consoles import table_console
from odl.cli.json_file import check_json_file, is_standard_output, write_json
from odl.cli.options import Given, JsonFile, RegisterBits, takes_options
from odl.errors import InputError, option

if TYPE_CHECKING:
    from odl.bench import InstructionCount, Measurement
    from odl.bench.cycles import CycleCount

#: Causes of lost cycles, with what they are called in the table.
_CAUSES = {
    "load_use": "load use",
    "tcdm_conflict": "banks",
    "fpu_stall": "FPU",
    "icache_miss": "icache",
    "branch": "branches",
    "l2_access": "L2",
    "dma_wait": "DMA",
    "barrier": "barrier",
    "sleep": "sleep",
    "multicycle": "multi-cycle",
    "misaligned": "misaligned",
    "other": "other",
}
_SHORT_PASSES = {"input_gradient": "dx", "weight_gradient": "dw", "forward": "fwd"}


# target: of those that count something, the one that says where cycles went.
@takes_options(
    "target", "isa", "dtype", "cores", defaults={"target": "cv32e40p"}, panel="For models not compiled yet"
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

    On QEMU, which has no cycles, count instructions.
    """
    from odl.bench import count_instructions, measure
    from odl.bench.cycles import count_cycles
    from odl.cli.cycles import print_cycles
    from odl.cli.instructions import print_instructions
    from odl.targets.cv32e40p import Cluster, InstructionCache

    check_json_file(json_file)
    if plot_file is not None and plot_file.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"--plot {plot_file}: the name must end in .png, .svg or .pdf")
    console = table_console(stderr=is_standard_output(json_file))
    results: list[Measurement] = []
    counts: list[InstructionCount | CycleCount] = []
    with tempfile.TemporaryDirectory(prefix="odl-bench-") as folder:
        for number, model in enumerate(models):
            directory = _project(model, Path(folder) / str(number), options)
            compiled_for, compiled_cores = _compiled_for(directory)
            if compiled_for == "qemu":
                with console.status(f"running a training step of {model}"):
                    instructions = count_instructions(directory, vlen or 128)
                print_instructions(console, instructions, summary)
                counts.append(instructions)
                continue
            if vlen is not None:
                raise InputError(f"--vlen {vlen} goes with target qemu; {model} is for {compiled_for}")
            if compiled_for == "gvsoc":
                if fpus is not None or fpu_latency != 1 or ideal_icache:
                    raise InputError(
                        f"GVSoC's machine is as it is; {model} is for it: leave out what changes it"
                    )
                with console.status(f"simulating a training step of {model}"):
                    cycles = count_cycles(directory)
                print_cycles(console, cycles, summary)
                counts.append(cycles)
                continue
            cluster = Cluster(
                cores=compiled_cores,
                fpus=fpus,
                fpu_latency=fpu_latency,
                icache=None if ideal_icache else InstructionCache(),
            )
            with console.status(f"simulating a training step of {model}"):
                results.append(measure(directory, cluster))
            _print(console, results[-1], summary)
    if plot_file is not None:
        from odl.bench.roofline import plot

        if not results:
            raise InputError(
                f"--plot {plot_file}: a roofline needs cycles and their causes, as cv32e40p counts them"
            )
        plot(results, plot_file)
    write_json(json_file, [item.as_json() for item in results] + [item.as_json() for item in counts])


def _project(model: str, directory: Path, options: Given) -> Path:
    """A directory with the project: the given one, or a fresh one compiled from a model."""
    from odl.build import compile
    from odl.models import resolve

    given = Path(model)
    if given.is_dir():
        return given
    if options["target"] == "host":
        raise InputError(f"{option('target', 'host')}: this machine has no cycle count; use cv32e40p")
    made = resolve(model)
    build = compile(
        made.module, made.example(1), name=made.name, spec=made.spec, **{**options, "loss": made.loss}
    )
    return build.save(directory)


def _compiled_for(directory: Path) -> tuple[str, int]:
    """A project's target and number of cores; InputError where nothing can be counted."""
    from odl.project.manifest import read_manifest

    options = read_manifest(directory)["options"]
    if options["target"] == "host":
        raise InputError(
            f"{directory} was compiled for the host; compile it with {option('target', 'cv32e40p')}"
        )
    if options["runtime"] == "none":
        raise InputError(
            f"{directory} was compiled with {option('runtime', 'none')}; it runs where your port runs"
        )
    return str(options["target"]), int(options["cores"])


def _print(console: Console, result: Measurement, summary: bool) -> None:
    cluster = result.cluster
    fpus = f"{cluster.fpus} shared FPUs" if cluster.fpus else "an FPU each"
    cache = "instruction cache modelled" if cluster.icache else "ideal instruction cache"
    console.print(
        f"{result.model}, {result.dtype}, {cluster.cores} cores with {fpus}, FPU latency {cluster.fpu_latency}, "
        f"L1 {cluster.l1_bytes // 1024} KiB in {cluster.l1_banks} banks, L2 {cluster.l2_bytes // 1024} KiB, {cache}",
        highlight=False,
        soft_wrap=True,
    )
    if not summary:
        console.print(_table(result))
    console.print(
        f"{result.cycles:,} cycles for {result.macs:,} MACs: {result.mac_per_clk:.2f} MAC/clk, everything counted "
        f"({result.cycles / result.seconds / 1000:.0f} kHz simulated)",
        highlight=False,
        soft_wrap=True,
    )


def _table(result: Measurement) -> Table:
    table = Table(
        title="Cycles of a training step; bound: what limits the node at best, and how near it comes"
    )
    table.add_column("node", overflow="ellipsis", max_width=22, no_wrap=True)
    table.add_column("pass", no_wrap=True)
    for heading in ("cycles", "MAC/clk", "issued"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("bound", no_wrap=True)
    table.add_column("lost to")  # the column that wraps where the terminal is narrow
    for item in result.operators:
        total = max(1, sum(item.stalls.values()))
        table.add_row(
            item.name,
            _SHORT_PASSES.get(item.pass_name, item.pass_name),
            f"{item.cycles:,}",
            f"{item.mac_per_clk:.2f}" if item.macs else "",
            f"{100 * item.stalls.get('instructions', 0) / total:.0f} %",
            f"{item.bounds.limit} {100 * item.fraction:.0f} %" if item.bounds.limit else "",
            _losses(item.stalls, total),
        )
    return table


def _losses(stalls: Mapping[str, int], total: int) -> str:
    """The two largest causes of cycles in which no instruction was issued, with their shares."""
    largest = sorted(_CAUSES, key=lambda cause: -stalls.get(cause, 0))[:2]
    return ", ".join(
        f"{_CAUSES[cause]} {100 * stalls[cause] / total:.0f} %" for cause in largest if stalls.get(cause, 0)
    )
