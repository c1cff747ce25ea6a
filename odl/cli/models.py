"""`odl models`."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table


def models() -> None:
    """List the zoo: parameters, and multiply-accumulates of one inference and of one training step."""
    from odl import zoo

    table = Table(title="Model zoo (MLPerf Tiny)", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("name", "input", "loss"):
        table.add_column(column, no_wrap=True)
    for column in ("parameters", "MACs forward", "MACs step"):
        table.add_column(column, justify="right", no_wrap=True)
    for model in zoo.MODELS.values():
        module = model.factory()
        macs = zoo.count_macs(module, model.input_shape)
        table.add_row(
            model.name,
            "x".join(str(size) for size in model.input_shape),
            model.loss,
            f"{sum(parameter.numel() for parameter in module.parameters()):,}",
            f"{macs.forward:,}",
            f"{macs.step:,}",
        )
    console = Console()
    console.print(table)
    for model in zoo.MODELS.values():
        console.print(f"{model.name}: {model.title}", highlight=False)
