"""`odl models`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from odl import zoo


def models() -> None:
    """List the zoo: parameters, and multiply-accumulates of one inference and of one training step."""
    table = Table(title="Model zoo (MLPerf Tiny)")
    for column in ("name", "network", "input", "loss"):
        table.add_column(column)
    for column in ("parameters", "MACs forward", "MACs per step"):
        table.add_column(column, justify="right")
    for model in zoo.MODELS.values():
        module = model.factory()
        macs = zoo.count_macs(module, model.input_shape)
        table.add_row(
            model.name,
            model.title,
            "x".join(str(size) for size in model.input_shape),
            model.loss,
            f"{sum(parameter.numel() for parameter in module.parameters()):,}",
            f"{macs.forward:,}",
            f"{macs.step:,}",
        )
    Console().print(table)
