"""`odl compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from odl.errors import InputError
from odl.optimizers import CHOICES, field_help, make_optimizer
from odl.precision import Precision

_MODEL = "Zoo name (see odl models) or file.py:factory, a function that returns an nn.Module."


def compile_model(
    model: Annotated[str, typer.Argument(help=_MODEL)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory to write the C project to.")],
    target: Annotated[
        str, typer.Option(help="Where the project runs: host, cv32e40p, gvsoc or qemu.")
    ] = "host",
    isa: Annotated[
        str | None,
        typer.Option(
            help="Instruction set of target qemu: zvfh (fp16 vectors, the default) or zfh (scalar fp16)."
        ),
    ] = None,
    runtime: Annotated[
        str,
        typer.Option(
            help="none: leave out the target's runtime and write down what a port to your own must supply "
            "(docs/porting.md)."
        ),
    ] = "own",
    dtype: Annotated[
        str, typer.Option(help="fp32, fp16, or mixed: fp16 storage, fp32 sums and master weights.")
    ] = "mixed",
    cores: Annotated[
        int | None, typer.Option(help="Cores that share the work; 1 on the host, 8 on a cluster.")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory", help="Budget for the host's memory, such as 256K; exceeding it is an error."
        ),
    ] = None,
    l1: Annotated[
        str | None,
        typer.Option("--l1", help="Bytes that tensors may take beside a cluster's cores, such as 64K."),
    ] = None,
    l2: Annotated[
        str | None, typer.Option("--l2", help="Bytes that tensors may take in a cluster's large memory.")
    ] = None,
    update: Annotated[
        str, typer.Option(help="What is trained: full, last:N (layers), bias, or globs: 'head.*,*.bias'.")
    ] = "full",
    bn: Annotated[
        str,
        typer.Option("--bn", help="Batch norm: fold (into the layer before), frozen, or train."),
    ] = "fold",
    optimizer: Annotated[str, typer.Option(help=f"{', '.join(CHOICES)}.")] = "sgd",
    lr: Annotated[float | None, typer.Option("--lr", help=field_help("lr"))] = None,
    momentum: Annotated[float | None, typer.Option(help=field_help("momentum"))] = None,
    weight_decay: Annotated[float | None, typer.Option(help=field_help("weight_decay"))] = None,
    loss: Annotated[
        str | None, typer.Option(help="cross_entropy or mse; the zoo model's own, else cross_entropy.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Samples in one call.", min=1)] = 1,
    accumulate: Annotated[
        bool,
        typer.Option("--accumulate", help="Keep gradient buffers: accumulate over calls, apply when told."),
    ] = False,
    loss_scale: Annotated[
        float | None, typer.Option(help="Initial loss scale; 1 in fp32, 128 in fp16, 1024 in mixed.")
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(help="Input shape without batch, such as 3x32x32, where a factory gives none."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A file with the model's state_dict, written by torch.save.")
    ] = None,
    dump: Annotated[
        Path | None, typer.Option(help="Write what every stage gives as text into this directory.")
    ] = None,
) -> None:
    """Turn a PyTorch model into a C project that trains it, and say how much memory that takes."""
    from odl.build import compile
    from odl.models import parse_shape, resolve
    from odl.options import LOSSES, parse_size
    from odl.project.directory import check_output

    console = Console()
    if loss is not None and loss not in LOSSES:
        raise InputError(f"--loss {loss}: must be one of {', '.join(LOSSES)}")
    if dtype not in [item.value for item in Precision]:
        raise InputError(f"--dtype {dtype}: must be one of fp32, fp16, mixed")
    check_output(output)
    if dump is not None:
        _check_dump(dump, output)
    made = resolve(model, None if input_shape is None else parse_shape(input_shape), loss)
    if weights is not None:
        _load_weights(made.module, weights)
    chosen = make_optimizer(optimizer, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        progress.add_task(f"compiling {made.name}: trace, passes, memory plan, C")
        build = compile(
            made.module,
            made.example(batch),
            loss=made.loss,
            optimizer=chosen,
            target=target,
            dtype=dtype,
            cores=cores,
            memory=None if memory is None else parse_size(memory),
            l1=None if l1 is None else parse_size(l1),
            l2=None if l2 is None else parse_size(l2),
            update=update,
            bn=bn,
            accumulate=accumulate,
            loss_scale=loss_scale,
            isa=isa,
            runtime=runtime,
            name=made.name,
            spec=made.spec,
        )
        if dump is not None:
            _dump(build.compiled.stages, dump)
        build.save(output)
    _report(console, build, output)


def _load_weights(module: object, path: Path) -> None:
    import torch
    from torch import nn

    assert isinstance(module, nn.Module)
    if not path.is_file():
        raise InputError(f"--weights {path}: no such file")
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise InputError(f"--weights {path}: not a state_dict that torch.save wrote") from error
    try:
        module.load_state_dict(state)
    except Exception as error:
        first = " ".join(str(error).split())[:200]
        raise InputError(f"--weights {path}: does not fit the model: {first}") from error


def _check_dump(directory: Path, output: Path) -> None:
    """InputError when the texts cannot go there, or would be in the way when the project is replaced."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"--dump {directory} is a file; name a directory")
    if directory.resolve().is_relative_to(output.resolve()):
        raise InputError(f"--dump {directory} is inside the project {output}; name another directory")


def _dump(stages: object, directory: Path) -> None:
    assert isinstance(stages, dict)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in stages.items():
            (directory / f"{name}.txt").write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--dump {directory} cannot be written: {error.strerror or error}") from error


def _report(console: Console, build: object, output: Path) -> None:
    from odl.build import Build
    from odl.plan.report import memory_table
    from odl.project.programs import INFER, STEP

    assert isinstance(build, Build)
    network = build.compiled.network
    console.print(memory_table(network.schedule.memories))
    console.print(f"{network.macs(INFER):,} MACs forward, {network.macs(STEP):,} a training step")
    for path in build.compiled.kept_norms:
        console.print(f"batch norm '{path}' follows no layer that could take it in; it stays frozen")
    if build.unused:
        names = list(build.unused)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        console.print(f"the model never uses {', '.join(names[:3])}{more}; left out")
    console.print(
        f"wrote {output}; next: odl run {output}, odl verify {output}", highlight=False, soft_wrap=True
    )
